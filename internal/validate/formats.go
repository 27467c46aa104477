package validate

import (
	"io"

	"symkeep/internal/symfile"
)

// A format is what this package does with files of one symfile.Format.
type format struct {
	// identify fills Identity from headers alone. It is cheap: the agent calls it
	// for every file of a build tree. Damage shows as missing ids, never as an
	// error; check says what is wrong. Errors of r may be ignored: the reader the
	// core passes in remembers them.
	identify func(r io.ReaderAt, size int64, name string) Identity
	// check runs every check on one file, adds findings to s, and leaves in
	// s.facts what the checks across the package need. It may read the whole file,
	// in bounded memory.
	check func(s *subject)
}

// formats maps what sniffing found to its checks. A format without an entry is
// judged by class alone, see classOf.
var formats = map[symfile.Format]format{
	symfile.PE:       {identifyPE, checkPE},
	symfile.PDB7:     {identifyPDB, checkPDB},
	symfile.PDB2:     {identifyPDB2, checkPDB2},
	symfile.MSFZ:     {identifyMSFZ, checkMSFZ},
	symfile.Metadata: {identifyPortablePDB, checkPortablePDB},
	symfile.ELF:      {identifyELF, checkELF},
	symfile.MachO:    {identifyMachO, checkMachO},
	symfile.FatMachO: {identifyMachO, checkMachO},
	symfile.Breakpad: {identifyBreakpad, checkBreakpad},
	symfile.Wasm:     {identifyWasm, checkWasm},
	symfile.DBG:      {identifyDBG, checkDBG},
	symfile.PerfMap:  {identifyPerfMap, checkPerfMap},

	symfile.SymbolIndex: {identifyIndex, checkIndex},
}

// packageChecks run after every file was checked, in this order. They may open
// files again. They return errors of I/O only. Those that add keys come before
// checkConflicts.
var packageChecks = []func(p *pkg) error{
	checkPEPairs,
	checkELFPairs,
	checkMachOPairs,
	checkBundles,
	checkIndexKeys,
	checkSources,
	checkConflicts,
}
