package validate

// fixed lists by reason the codes that no policy may allow: what a package with such
// a file would promise, no debugger could be given. A new code of that kind belongs
// here; those that leave a file under its key are for people to weigh.
var fixed = []struct {
	why   string
	codes []string
}{
	{"nothing in the file is what its name says", []string{
		"GEN-EMPTY", "GEN-ZEROS", "GEN-LFS", "GEN-HTML", "GEN-UNKNOWN", "GEN-CORE",
	}},
	{"debuggers never ask for such a file", []string{
		"GEN-OBJ", "GEN-COMPRESSED", "GEN-CONTAINER",
	}},
	{"the file cannot be stored or asked for under that name", []string{
		"GEN-NAME",
	}},
	{"a key can have one content only", []string{
		"GEN-CONFLICT",
	}},
	{"the file is damaged: it cannot be read as a whole", []string{
		"GEN-CRLF", "PE-HDR", "PE-TRUNC", "PDB-TRUNC", "PDB-SB", "PDB-DIR", "PDB-DBI", "PDB-V2", "PPDB-TRUNC", "PPDB-ROOT", "PPDB-STREAMS",
		"ELF-HDR", "ELF-TRUNC", "MO-HDR", "MO-TRUNC", "MO-FAT", "WASM-HDR", "DBG-HDR", "R2RMAP-HDR",
	}},
	{"without an id no debugger can ask for the file", []string{
		"PDB-INFO", "PDB-GUID0", "PPDB-ID0", "ELF-NOID", "ELF-ID0", "ELF-ID-MULTI", "MO-NOUUID", "MO-UUID0", "SYM-MODULE", "SYM-ID",
		"WASM-NOID",
	}},
}

// whyFixed has the reason of each fixed code.
var whyFixed = func() map[string]string {
	m := map[string]string{}
	for _, f := range fixed {
		for _, code := range f.codes {
			m[code] = f.why
		}
	}
	return m
}()
