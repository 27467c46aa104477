package validate

import "symkeep/internal/catalog"

// A Code is one check: its stable id, what a hit means by default, and what the
// person who reads it should do. docs/findings.md, the API and `symkeep findings`
// show Checks, which is made from Codes.
type Code struct {
	ID       string
	Severity catalog.Severity
	Summary  string // what is wrong, one line
	Advice   string // what to do, one sentence without a full stop; empty if nothing
}

// Codes lists every check, in the order of the documentation page.
var Codes = []Code{
	{"GEN-EMPTY", catalog.Error, "the file has no bytes", "The step that wrote it failed or ran out of disk: rebuild, and check its exit code before uploading"},
	{"GEN-ZEROS", catalog.Error, "the file holds only zero bytes", "The copy was interrupted or the disk was full: upload again from the build output"},
	{"GEN-LFS", catalog.Error, "the file is a Git LFS pointer", "Run `git lfs pull` in the job before collecting symbols"},
	{"GEN-HTML", catalog.Error, "the file is a web page or an error reply", "It is the reply of a failed download or login: fetch it with credentials and fail on an HTTP status of 400 or above"},
	{"GEN-CRLF", catalog.Error, "line ends inside a binary file were converted", "Mark *.pdb as binary in .gitattributes, or use a binary transfer"},
	{"GEN-UNKNOWN", catalog.Error, "the format is not known", "Remove it from the package or exclude the pattern"},
	{"GEN-EXT", catalog.Error, "the extension contradicts the content", "Debuggers would receive the wrong kind of file: check the copy step"},
	{"GEN-COMPRESSED", catalog.Error, "a compressed file cannot be opened, or has the name of an unpacked one", "Pack it again or push it unpacked; `symkeep push` opens gzip, xz, zstd, bzip2 and cabinets under their own names"},
	{"GEN-CONTAINER", catalog.Error, "an archive cannot be opened, or holds no symbol file", "Pack it again, or push what is inside; `symkeep push` and the route for archives open zip, tar, deb, rpm and cabinets"},
	{"GEN-NAME", catalog.Error, "the path or name is not acceptable", "Use plain relative paths and base names"},
	{"GEN-CASE", catalog.Warning, "two names differ in case only", "Keep one of them"},
	{"GEN-DUP", catalog.Warning, "the same file is in the package twice", "One copy is kept; upload it once"},
	{"GEN-CONFLICT", catalog.Error, "one key has two contents", "A build must not reuse an id: relink, do not patch ids, and publish only the final form of a file that is signed or source-indexed"},
	{"GEN-OBJ", catalog.Error, "the file is an object or a library", "Debuggers never request it: upload the linked output"},
	{"GEN-CORE", catalog.Error, "the file is a crash dump", "Symbols belong here, dumps do not: remove it"},
	{"GEN-SIZE", catalog.Warning, "the file is larger than some debuggers can load", "32-bit and older debuggers cannot load it: use /OPT:REF, split the debug data, or strip types"},
	{"GEN-INDEX", catalog.Error, "an entry of symbol_index.json cannot be used", "Write {\"clientKey\": \"name/id/name\", \"blobPath\": \"path from the folder of the index\"} for files of this package"},
	{"GEN-SOURCE", catalog.Warning, "a source file is not served", "It is kept, and no debugger asks for it under that path: push it once, with the program that was compiled from it"},
	{"GEN-NOSOURCE", catalog.Info, "source files that debug information names are not in the package", "Push on the machine that compiled them, with --source-root FROM=TO where the compiler knew them under another path"},
	{"GEN-MORE", catalog.Info, "more findings than are listed", "Repair the listed ones first"},

	{"PE-HDR", catalog.Error, "a PE header is damaged", "Copy the file again from the link step"},
	{"PE-TRUNC", catalog.Error, "a PE image ends too early", "The upload or the copy was cut: copy it again from the link step"},
	{"PE-RSDS", catalog.Error, "the debug record of an image is damaged", "No debugger can find its PDB: relink with /DEBUG and do not post-process the image"},
	{"PE-NODEBUG-LINK", catalog.Warning, "an image names no PDB", "Debuggers that want a PDB will show only exports: link with /DEBUG (MSVC, lld); GDB and LLDB read DWARF (mingw: -g)"},
	{"PE-TS0", catalog.Warning, "the timestamp of an image is 0", "Every build of the same size shares its key: link with /Brepro or a real timestamp; where that cannot be set (Go), a second build of equal size will be refused as a conflict"},
	{"PE-PDB-MISSING", catalog.Warning, "the PDB of an image is not in the package", "Add it to the upload list"},
	{"PE-PDB-MISMATCH", catalog.Error, "an image and its PDB are from different builds", "Collect both from one link output; relinking after copying changes the age"},
	{"PE-NB10", catalog.Warning, "an image refers to a PDB 2.0", "Current debuggers may not read it: rebuild with a current linker"},
	{"PE-EMBED", catalog.Error, "the embedded portable PDB is damaged", "Rebuild with DebugType=embedded; obfuscators must rewrite it"},
	{"PE-SYMS", catalog.Error, "the symbol table of an image is damaged", "Debuggers find neither its symbols nor, by their long names, its sections: copy it again from the link step"},
	{"PE-UNWIND", catalog.Warning, "the unwind table of an image is damaged", "Stacks cannot be walked through its functions: copy it again from the link step"},
	{"PE-TABLES", catalog.Error, "the exports, imports or load configuration of an image are damaged", "Neither Windows nor a debugger gets along with it: copy it again from the link step"},
	{"PE-CLR", catalog.Error, "the metadata of a managed image is damaged", "Debuggers find no names and types in it: copy it again from the build output, or rebuild it"},
	{"PE-OVERLAY", catalog.Info, "an image has data after its sections", "Installers and self-extractors have that; a debugger does not read it"},
	{"PE-DWARF", catalog.Error, "DWARF data of an image is unreadable", "Rebuild; a tool that rewrote the file damaged it"},
	{"PE-CHECKSUM", catalog.Warning, "the checksum of a driver is wrong", "Windows will refuse to load it: set it after the last change to the file"},
	{"PE-PACKED", catalog.Warning, "an executable packer was used", "Debuggers see the unpacked image: upload the image before packing, too"},
	{"PE-ABSPATH", catalog.Info, "an image publishes a path of the build machine", "Link with /PDBALTPATH:%_PDB%, or set PathMap (.NET)"},

	{"PDB-TRUNC", catalog.Error, "a PDB ends too early", "The upload was cut: wait for the linker and mspdbsrv to finish before copying"},
	{"PDB-SB", catalog.Error, "the header of a PDB is damaged", "Copy it again from the link step"},
	{"PDB-DIR", catalog.Error, "the stream directory of a PDB is damaged", "Rebuild it"},
	{"PDB-HOLE", catalog.Error, "parts of a PDB are empty", "A part of a parallel copy was lost: upload again"},
	{"PDB-INFO", catalog.Error, "a PDB has no identity record", "Upload the PDB that the linker writes"},
	{"PDB-GUID0", catalog.Error, "the id of a PDB is zero", "Debuggers cannot ask for it: write a real GUID into image and PDB"},
	{"PDB-DBI", catalog.Error, "the module table of a PDB is missing or damaged", "Rebuild it; if this is the compiler's vc1xx.pdb, upload the linker's PDB instead"},
	{"PDB-TYPES", catalog.Error, "the type records of a PDB are damaged", "Debuggers show no types and variables, or refuse the file: rebuild it, or copy it again from the link step"},
	{"PDB-SYMS", catalog.Error, "the symbol records of a PDB are damaged", "Debuggers miss functions, or refuse the file: rebuild it, or copy it again from the link step"},
	{"PDB-LINES", catalog.Error, "the line numbers of a PDB are damaged", "Debuggers find no source lines: rebuild it, or copy it again from the link step"},
	{"PDB-COMPILER", catalog.Error, "the PDB is one the compiler writes", "Debuggers never request it: upload the PDB written by the linker"},
	{"PDB-MSFZ", catalog.Error, "a PDB is compressed (MSFZ)", "Few debuggers read that, and symkeep compresses by itself: link without /pdbcompress, or convert it with pdbconv"},
	{"PDB-AGE", catalog.Warning, "the two ages of a PDB differ", "Normal after source indexing"},
	{"PDB-FASTLINK", catalog.Error, "a PDB was linked with /DEBUG:FASTLINK", "Its symbols stay in .obj files of the build machine: link with /DEBUG:FULL, or convert with mspdbcmf"},
	{"PDB-STRIPPED", catalog.Warning, "a PDB holds public symbols only", "It gives function names, but no lines, locals or types: upload the private one to an internal server"},
	{"PDB-NOLINES", catalog.Warning, "a PDB has no line numbers", "Compile with /Zi or /Z7"},
	{"PDB-INCR", catalog.Warning, "a PDB comes from an incremental link", "It is larger and may hold stale code: use /INCREMENTAL:NO for builds you publish"},
	{"PDB-BLOAT", catalog.Warning, "more than half of a PDB is unused", "A full relink makes it smaller"},
	{"PDB-ORPHAN", catalog.Warning, "no image of the package refers to a PDB", "Minidump analysis also needs the image: upload both"},
	{"PDB-V2", catalog.Error, "a PDB has the VC6 format", "Rebuild with a current linker"},

	{"PPDB-TRUNC", catalog.Error, "a portable PDB ends too early", "The upload or the copy was cut: copy it again from the build output"},
	{"PPDB-ROOT", catalog.Error, "the metadata header of a portable PDB is damaged", "Copy it again from the build output"},
	{"PPDB-STREAMS", catalog.Error, "the file is .NET metadata but not a portable PDB", "Upload the PDB that the compiler writes"},
	{"PPDB-TABLES", catalog.Error, "the tables of a portable PDB are damaged", "Debuggers find no source positions, or refuse the file: rebuild it, or copy it again from the build output"},
	{"PPDB-ID0", catalog.Error, "the id of a portable PDB is zero", "Debuggers cannot ask for it: write a real id into assembly and PDB"},
	{"PPDB-CHECKSUM", catalog.Error, "a portable PDB was changed after its assembly was compiled", "Do not edit PDBs after compilation; rewriters must update both"},
	{"PPDB-NODOC", catalog.Warning, "a portable PDB has no source positions", "Compile with DebugType=portable and without stripping"},
	{"PPDB-NOSRCLINK", catalog.Info, "a portable PDB names no sources to fetch", "Add SourceLink so that debuggers can show sources"},

	{"ELF-HDR", catalog.Error, "an ELF header is damaged", "Copy the file again from the link step"},
	{"ELF-TRUNC", catalog.Error, "an ELF file ends too early", "The upload or the copy was cut: copy it again from the link step"},
	{"ELF-NOID", catalog.Error, "an ELF file has no build id", "No debugger can ask for it: link with -Wl,--build-id (Go: do not pass -B none); an id cannot be added afterwards without a new build"},
	{"ELF-ID-SIZE", catalog.Warning, "the length of a build id is unusual", "Use --build-id=sha1"},
	{"ELF-ID0", catalog.Error, "a build id is zero", "Link with -Wl,--build-id=sha1"},
	{"ELF-ID-MULTI", catalog.Error, "an ELF file has two build ids", "objcopy or ld -r left one behind: relink"},
	{"ELF-GOID", catalog.Info, "an ELF file has only a Go build id", "Go's own id is not one debuggers ask by: link without -B none"},
	{"ELF-NODEBUG", catalog.Warning, "an ELF file has no debug data", "If strip ran before the split, the order is: objcopy --only-keep-debug, then strip, then --add-gnu-debuglink"},
	{"ELF-COMP", catalog.Error, "a compressed section does not unpack", "Copy the file again from the build output, or rebuild it"},
	{"ELF-COMP-UNSUP", catalog.Warning, "sections are compressed with zstd", "Debuggers older than GDB 13 and LLVM 16 cannot read them: use zlib for wide reach"},
	{"ELF-DWARF", catalog.Error, "DWARF data is unreadable", "Rebuild; a tool that rewrote the file damaged it"},
	{"ELF-DWO", catalog.Error, "the debug data is in .dwo files", "Run `llvm-dwp` or `dwp -e` on the image and upload the .dwp"},
	{"ELF-ALTLINK", catalog.Error, "the dwz file that a file refers to is missing", "Upload the file below /usr/lib/debug/.dwz as well"},
	{"ELF-DLINK-MISSING", catalog.Warning, "the debug file of a stripped image is not in the package", "Upload it as well"},
	{"ELF-DLINK-CRC", catalog.Warning, "the debug link checksum does not match", "Lookups by build id work, GDB refuses the file by name: add the link after the last change to the debug file"},
	{"ELF-PAIR", catalog.Error, "an image and its debug file do not belong together", "Collect both from one link output"},
	{"ELF-LTO", catalog.Warning, "a linked file holds LTO intermediate code", "Strip it (objcopy -R '.gnu.lto_*') or link without -ffat-lto-objects"},
	{"ELF-GO", catalog.Info, "a Go binary was built without DWARF", "Drop -s -w from -ldflags"},
	{"ELF-LAYOUT", catalog.Warning, "an image and its debug file have different section addresses", "The debug file was made from another link: collect both from one link output"},

	{"MO-HDR", catalog.Error, "Mach-O load commands are damaged", "Copy the file again from the link step"},
	{"MO-TRUNC", catalog.Error, "a Mach-O file ends too early", "The upload or the copy was cut: copy it again from the link step"},
	{"MO-FAT", catalog.Error, "a fat Mach-O file is damaged", "Copy it again, or run lipo again"},
	{"MO-NOUUID", catalog.Error, "a Mach-O slice has no UUID", "Crash reports cannot be matched: do not link with -no_uuid"},
	{"MO-UUID0", catalog.Error, "a Mach-O UUID is zero", "Crash reports cannot be matched: do not link with -no_uuid"},
	{"MO-DSYM-EMPTY", catalog.Error, "a dSYM has no debug data", "Build with -g, and run dsymutil on the build machine before the .o files are deleted"},
	{"MO-DSYM-MISSING", catalog.Warning, "the dSYM of an image is not in the package", "Run dsymutil and upload the dSYM as well"},
	{"MO-DSYM-MISMATCH", catalog.Error, "an image and its dSYM are from different builds", "Run dsymutil on the image that is shipped"},
	{"MO-OSO", catalog.Warning, "the debug data of an image is in .o files", "Run dsymutil on the build machine and upload the dSYM"},
	{"MO-DWARF", catalog.Error, "DWARF data of a Mach-O file is unreadable", "Run dsymutil again; a tool that rewrote the file damaged it"},
	{"MO-ENCRYPTED", catalog.Warning, "an image is encrypted", "It is an app store copy whose code cannot be unwound: upload the build output"},

	{"SYM-MODULE", catalog.Error, "the first line of a .sym file is not a MODULE record", "Write it with dump_syms; shells must not convert its output to UTF-16"},
	{"SYM-ID", catalog.Error, "the id of a .sym file is malformed", "Run a current dump_syms on the file with symbols"},
	{"SYM-EMPTY", catalog.Error, "a .sym file holds no symbols", "dump_syms ran on a stripped file: give it the unstripped one or its .debug"},
	{"SYM-RECORD", catalog.Error, "a record of a .sym file is malformed", "The file was cut or mixed with other output: run dump_syms again"},
	{"SYM-NAME", catalog.Warning, "the path of a .sym file disagrees with its MODULE record", "MODULE wins"},

	{"WASM-HDR", catalog.Error, "a WebAssembly module is damaged", "Copy it again from the build output"},
	{"WASM-CUSTOM", catalog.Error, "a custom section of a WebAssembly module is damaged", "LLDB and the tools of LLVM do not open the module, and browsers show no names of it: copy it again from the build output"},
	{"WASM-NOID", catalog.Error, "a WebAssembly module has no build id", "Link with wasm-ld --build-id=sha1"},
	{"WASM-DWARF", catalog.Error, "DWARF data of a WebAssembly module is unreadable", "Rebuild; a tool that rewrote the module damaged it"},
	{"WASM-NODBG", catalog.Warning, "a WebAssembly module has no symbols", "Build with -g"},

	{"DBG-HDR", catalog.Error, "a .dbg file is damaged", "Copy it again from the build output"},
	{"DBG-OLD", catalog.Warning, "a .dbg file is obsolete", "Current debuggers do not read it: build a PDB"},

	{"R2RMAP-HDR", catalog.Error, "the header of a map of ReadyToRun code is damaged", "Run crossgen2 --perfmap --perfmap-format-version 1 again"},
	{"R2RMAP-RECORD", catalog.Error, "a map of ReadyToRun code is cut, or lists no method", "Run crossgen2 --perfmap --perfmap-format-version 1 again"},
}

var codeByID = func() map[string]*Code {
	m := make(map[string]*Code, len(Codes))
	for i := range Codes {
		m[Codes[i].ID] = &Codes[i]
	}
	return m
}()
