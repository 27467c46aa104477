package validate

import (
	"bytes"
	"encoding/hex"
	"errors"
	"path"
	"slices"
	"strings"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile"
	"symkeep/internal/symfile/symindex"
	"symkeep/internal/symid"
)

// symbolExts are the extensions of executables and symbol files, folded.
var symbolExts = map[string]bool{
	".pdb": true, ".dll": true, ".exe": true, ".sys": true, ".ocx": true, ".efi": true, ".node": true, ".drv": true,
	".cpl": true, ".scr": true, ".ax": true, ".pd_": true, ".dl_": true, ".ex_": true, ".sy_": true,
	".so": true, ".debug": true, ".dbg": true, ".dwp": true, ".dwo": true, ".ko": true, ".sym": true,
	".dylib": true, ".dsym": true, ".wasm": true,
}

// symbolName reports whether name is that of an executable or symbol file.
func symbolName(name string) bool {
	if strings.HasPrefix(name, "._") {
		return false // what macOS puts beside a file, on disks and in archives of others
	}
	name = symid.Fold(name)
	if symbolExts[path.Ext(name)] {
		return true
	}
	_, version, ok := strings.Cut(name, ".so.") // libfoo.so.1.2
	return ok && version != "" && strings.Trim(version, "0123456789.") == ""
}

// Ignored reports whether a scan passes over a file: its content is of no use to a
// debugger, its name does not claim otherwise, and nobody named it. Such a file is
// not uploaded and its finding is for information.
func Ignored(f File, id Identity) bool {
	name := symid.BaseName(f.Path)
	if !f.Explicit && id.Format == symfile.LinkerScript {
		return true // by design under the name of a library
	}
	if f.Explicit || symbolName(name) || symindex.Named(name) || bundleDWARF(f.Path) {
		return false
	}
	if errors.Is(f.Archive, ErrNoSymbols) {
		return true
	}
	switch id.Class {
	case ClassUnknown, ClassObject, ClassDisguise:
		return true
	}
	return false
}

// checkName is GEN-NAME.
func (s *subject) checkName() {
	if err := catalog.CheckPath(s.Path); err != nil {
		s.add("GEN-NAME", 0, "not an acceptable file name: %v", err)
		return
	}
	for seg := range strings.SplitSeq(s.Path, "/") {
		stem, _, _ := strings.Cut(symid.Fold(seg), ".")
		if windowsDevice(stem) {
			s.add("GEN-NAME", 0, "%q is the name of a device on Windows", seg)
		}
	}
}

func windowsDevice(stem string) bool {
	switch stem {
	case "con", "prn", "aux", "nul":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && stem[3] >= '1' && stem[3] <= '9'
}

// Sizes past which debuggers have trouble: offsets become negative as signed
// 32-bit numbers, then no longer fit 32 bits.
const (
	size2G = int64(2) << 30
	size4G = int64(4) << 30
)

// checkGeneral runs the checks that need no parser, by class. A format that finds
// out later what the file is (an ELF object, a dump) reports it itself.
func (s *subject) checkGeneral() {
	if s.size > size2G {
		limit := 2
		if s.size > size4G {
			limit = 4
		}
		s.add("GEN-SIZE", 0, "%.1f GiB, over %d GiB", float64(s.size)/(1<<30), limit)
	}
	s.checkExtension()
	if _, ok := formats[s.Format]; ok && !s.ignored {
		return
	}
	switch s.Class {
	case ClassObject:
		s.addObject("%s", formatNames[s.Format])
	case ClassDump:
		s.add("GEN-CORE", 0, "a %s", formatNames[s.Format])
	case ClassCompressed:
		s.addArchive("GEN-COMPRESSED", "compressed")
	case ClassContainer:
		s.addArchive("GEN-CONTAINER", "an archive")
	default:
		s.checkDisguise()
	}
}

// extKinds says what content an extension promises. Others promise nothing.
var extKinds = map[string][]catalog.FileKind{
	".pdb": {catalog.KindPDB, catalog.KindPortablePDB},
	".dll": {catalog.KindPE}, ".exe": {catalog.KindPE}, ".sys": {catalog.KindPE}, ".ocx": {catalog.KindPE},
	".efi": {catalog.KindPE}, ".drv": {catalog.KindPE}, ".cpl": {catalog.KindPE}, ".scr": {catalog.KindPE},
	".so": {catalog.KindELF}, ".ko": {catalog.KindELF}, ".dwp": {catalog.KindELF}, ".dwo": {catalog.KindELF},
	".dbg": {catalog.KindDBG, catalog.KindELF, catalog.KindPE}, ".debug": {catalog.KindELF, catalog.KindPE, catalog.KindWasm},
	".dylib": {catalog.KindMachO}, ".sym": {catalog.KindBreakpad}, ".wasm": {catalog.KindWasm},
}

// checkExtension is GEN-EXT: an error where the base name is part of the key.
func (s *subject) checkExtension() {
	want, ok := extKinds[path.Ext(symid.Fold(s.name))]
	if !ok || s.Class != ClassSymbol || slices.Contains(want, s.Kind) {
		return
	}
	sev := catalog.Warning
	switch s.Kind {
	case catalog.KindPE, catalog.KindPDB, catalog.KindPortablePDB, catalog.KindWasm, catalog.KindDBG:
		sev = catalog.Error
	}
	s.addAs(sev, "GEN-EXT", 0, "named %s but its content is %s", path.Ext(s.name), s.Kind)
}

// addObject is GEN-OBJ for a file of class object.
func (s *subject) addObject(format string, args ...any) {
	if s.ignored {
		s.addAs(catalog.Info, "GEN-OBJ", 0, "ignored: "+format, args...)
		return
	}
	s.add("GEN-OBJ", 0, format, args...)
}

func (s *subject) checkDisguise() {
	sev := func(code string) catalog.Severity {
		if s.ignored {
			return catalog.Info
		}
		return codeByID[code].Severity
	}
	if bundleList(s.Path) {
		return // checkBundles speaks of it
	}
	head := make([]byte, min(s.size, symfile.SniffLen))
	n, _ := s.in.ReadAt(head, 0)
	head = head[:n]
	switch s.Format {
	case symfile.Empty:
		s.addAs(sev("GEN-EMPTY"), "GEN-EMPTY", 0, "no bytes")
	case symfile.MangledPDB:
		s.add("GEN-CRLF", 24, "line ends in the header of a PDB were converted: found %x, wanted 0d0a1a4453", head[24:min(len(head), 29)])
	case symfile.LFSPointer:
		oid := "an object"
		for line := range strings.FieldsFuncSeq(string(head), func(r rune) bool { return r == '\r' || r == '\n' }) {
			if rest, ok := strings.CutPrefix(line, "oid "); ok {
				oid = rest
			}
		}
		s.addAs(sev("GEN-LFS"), "GEN-LFS", 0, "a Git LFS pointer for %.80q, not the file", oid)
	case symfile.Markup:
		s.addAs(sev("GEN-HTML"), "GEN-HTML", 0, "%s, wanted an executable or symbol file", describeMarkup(head))
	case symfile.DOS:
		s.addAs(sev("GEN-UNKNOWN"), "GEN-UNKNOWN", 0, "a 16-bit or DOS program, which no current debugger asks for")
	case symfile.MonoMDB:
		s.addAs(sev("GEN-UNKNOWN"), "GEN-UNKNOWN", 0, "a Mono .mdb, which no debugger asks a server for; emit portable PDBs instead")
	case symfile.BitcodeMap:
		s.addAs(sev("GEN-UNKNOWN"), "GEN-UNKNOWN", 0, "a symbol map of bitcode, which no debugger asks a server for; dsymutil --symbol-map puts its names into the dSYM")
	default:
		if perfMap(s.name) {
			s.addAs(sev("GEN-UNKNOWN"), "GEN-UNKNOWN", 0, "a map of compiled code for perf, which reads it on the machine where the program ran; no debugger asks a server for it")
			return
		}
		if off := s.firstNonZero(); off == s.size {
			s.addAs(sev("GEN-ZEROS"), "GEN-ZEROS", 0, "%d bytes, all zero", s.size)
			return
		}
		s.addAs(sev("GEN-UNKNOWN"), "GEN-UNKNOWN", 0, "not a symbol or executable format: it starts with %s", hex.EncodeToString(head[:min(len(head), 16)]))
	}
}

// perfMap reports whether name is that of a map which runtimes write for perf:
// perf-PID.map and perfinfo-PID.map, and .r2rmap of a version before those that servers
// are asked for.
func perfMap(name string) bool {
	name = symid.Fold(name)
	for _, prefix := range []string{"perf-", "perfinfo-"} {
		if pid, ok := strings.CutPrefix(name, prefix); ok && strings.HasSuffix(pid, ".map") {
			pid = strings.TrimSuffix(pid, ".map")
			return pid != "" && strings.Trim(pid, "0123456789") == ""
		}
	}
	return path.Ext(name) == ".r2rmap"
}

// describeMarkup names a page by its title.
func describeMarkup(head []byte) string {
	kind := "a web page or XML text"
	if t := bytes.TrimLeft(head, "\xef\xbb\xbf \t\r\n"); len(t) > 0 && t[0] == '{' {
		kind = "JSON text"
	}
	if _, rest, ok := bytes.Cut(head, []byte("<title>")); ok {
		title, _, _ := bytes.Cut(rest, []byte("<"))
		return kind + " titled " + strings.ToValidUTF8(quoteShort(title), "?")
	}
	return kind
}

func quoteShort(b []byte) string {
	if len(b) > 80 {
		b = b[:80]
	}
	return `"` + strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, string(b)) + `"`
}

// firstNonZero returns the offset of the first byte that is not zero, or the size.
func (s *subject) firstNonZero() int64 {
	buf := make([]byte, 64<<10)
	for off := int64(0); off < s.size; {
		n, err := s.in.ReadAt(buf[:min(int64(len(buf)), s.size-off)], off)
		for i, c := range buf[:n] {
			if c != 0 {
				return off + int64(i)
			}
		}
		off += int64(n)
		if n == 0 || err != nil {
			return off
		}
	}
	return s.size
}

// formatNames says what a format is to a person.
var formatNames = map[symfile.Format]string{
	symfile.ObjectCOFF: "a COFF object or import object", symfile.Archive: "a static or import library", symfile.Bitcode: "LLVM bitcode",
	symfile.LinkerScript: "a linker script",
	symfile.Minidump:     "minidump", symfile.Cabinet: "cabinet", symfile.SZDD: "MS compress", symfile.Gzip: "gzip",
	symfile.Zstd: "zstd", symfile.XZ: "xz", symfile.Bzip2: "bzip2", symfile.Deb: "Debian package", symfile.RPM: "RPM package",
	symfile.ELF: "an ELF object", symfile.MachO: "a Mach-O object", symfile.FatMachO: "a Mach-O object",
	symfile.Zip: "zip", symfile.SevenZip: "7z", symfile.Tar: "tar",
}
