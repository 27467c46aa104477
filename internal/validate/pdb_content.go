package validate

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/pdb"
	"symkeep/internal/symid"
)

// checkPDBContent reads everything a debugger reads: is it whole, and what does it
// tell. Empty blocks explain whatever damage they do, so nothing else is reported then.
func (s *subject) checkPDBContent(f *pdb.File) {
	switch {
	case f.DBIErr != nil:
		s.damaged("PDB-DBI", f.DBIErr)
		return
	case !f.HasDBI && f.Types() > 0:
		s.add("PDB-COMPILER", 0, "%d types and no module table", f.Types())
		return
	case !f.HasDBI:
		s.add("PDB-DBI", 0, "no module table (stream 3): found no bytes, wanted at least 64")
		return
	}
	holes, err := f.Holes()
	if err != nil {
		return // the reader failed; the core reports it
	}
	for _, h := range holes {
		s.add("PDB-HOLE", h.First, "%d blocks of stream %d are empty, the first at %#x", h.Blocks, h.Stream, h.First)
	}
	c := pdbContent{subject: s, f: f, silent: len(holes) > 0 || f.InfoErr != nil || f.Info.NamesErr != nil}
	if c.read() {
		c.judge()
	}
}

// A pdbContent is a PDB while all its streams are read.
type pdbContent struct {
	*subject
	f      *pdb.File
	silent bool // other findings explain what damage is met

	modules  int
	private  bool // a module has symbol records
	shared   pdb.Globals
	contents *pdb.ModuleCheck
	damage   map[string]*moduleDamage // by code
}

// moduleDamage is the first damaged module of a code, and how many there are.
type moduleDamage struct {
	module pdb.Module
	err    *symfile.FormatError
	count  int
}

// read reads all streams, and is false where the module table has no end that makes
// sense: nothing can be said about the content then.
func (c *pdbContent) read() bool {
	var err error
	if c.contents, err = c.f.CheckModules(); err != nil {
		c.report("PDB-LINES", err)
	}
	c.damage = map[string]*moduleDamage{}
	for m, err := range c.f.Modules() {
		if err != nil {
			c.damaged("PDB-DBI", err)
			return false
		}
		c.modules++
		c.private = c.private || m.Stream != pdb.NoStream && m.SymBytes > 4
		c.note(m, c.contents.Check(m))
	}
	for _, code := range []string{"PDB-SYMS", "PDB-LINES"} {
		if d := c.damage[code]; d != nil && !c.silent {
			c.add(code, d.err.Off, "module %d (%s), stream %d: %s at %#x: found %s, wanted %s%s",
				d.module.Index, quote(symid.BaseName(d.module.Name)), d.module.Stream, d.err.What, d.err.Off, d.err.Found, d.err.Want, d.others())
		}
	}
	c.report("PDB-TYPES", c.f.CheckTypes())
	c.report("PDB-DBI", c.f.CheckTables(c.modules))
	c.shared, err = c.f.CheckGlobals()
	c.report("PDB-SYMS", err)
	return true
}

// report is damaged unless other findings explain it.
func (c *pdbContent) report(code string, err error) {
	if !c.silent {
		c.damaged(code, err)
	}
}

// note keeps what a module lacks.
func (c *pdbContent) note(m pdb.Module, err error) {
	var fe *symfile.FormatError
	if !errors.As(err, &fe) {
		return
	}
	code := "PDB-SYMS"
	if errors.Is(err, pdb.ErrLines) {
		code = "PDB-LINES"
	}
	if c.damage[code] == nil {
		c.damage[code] = &moduleDamage{module: m, err: fe}
	}
	c.damage[code].count++
}

func (d *moduleDamage) others() string {
	if d.count == 1 {
		return ""
	}
	return fmt.Sprintf("; %d modules are damaged like this", d.count)
}

// judge says what a debugger gets from the PDB.
func (c *pdbContent) judge() {
	types := c.f.Types()
	stripped := c.f.DBI.Stripped || types == 0 && !c.private
	if c.shared.Publics > 0 || c.contents.Procs > 0 {
		c.gives(catalog.QualityPublic)
	}
	if c.contents.Lines {
		c.gives(catalog.QualityLines)
	}
	if c.contents.Vars > 0 {
		c.gives(catalog.QualityTypes)
	}
	if c.f.HasUnwind() || c.contents.Frames {
		c.gives(catalog.QualityUnwind)
	}
	if hasSources(c.f) {
		c.gives(catalog.QualitySources)
	}
	switch {
	case c.modules == 0 && c.f.DBI.Machine == 0:
		c.add("PDB-COMPILER", 0, "%d types, no module and no machine", types)
	case stripped:
		c.add("PDB-STRIPPED", 0, "public symbols only")
		for i := range c.Keys {
			c.Keys[i].Rank = RankPublic
		}
	case !c.contents.Lines && !c.silent && c.damage["PDB-LINES"] == nil && c.damage["PDB-SYMS"] == nil:
		c.add("PDB-NOLINES", 0, "no line numbers in any of %d modules", c.modules)
	}
	if c.f.DBI.Incremental {
		c.add("PDB-INCR", 0, "incrementally linked")
	}
}

// hasSources reports whether a PDB says where to fetch sources, or holds some. Files
// that show values in a debugger are stored in the same way as sources.
func hasSources(f *pdb.File) bool {
	for name := range f.Info.Streams {
		switch {
		case name == "srcsrv", strings.HasPrefix(name, "sourcelink"),
			strings.HasPrefix(name, "/src/files/") && path.Ext(name) != ".natvis":
			return true
		}
	}
	return false
}
