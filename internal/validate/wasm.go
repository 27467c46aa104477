package validate

import (
	"encoding/binary"
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/wasm"
	"symkeep/internal/symid"
)

// archWasm is the only architecture of version 1.
const archWasm = "wasm32"

func identifyWasm(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindWasm, Arch: archWasm}
	m, err := wasm.Parse(r, size)
	if err != nil || len(m.BuildIDs) == 0 || zeroBuildID(m.BuildIDs[0]) {
		return id
	}
	rank := RankBare
	switch {
	case m.DebugInfo:
		rank = RankFull
	case m.Names:
		rank = RankPublic
	}
	for _, b := range m.BuildIDs { // both spellings: tools disagree
		id.IDs = append(id.IDs, catalog.IDs{Arch: archWasm, BuildID: b.String(), CodeID: b.String(), DebugID: b.DebugID(binary.BigEndian).String()})
		id.addKey(symid.WasmKey(name, b), rank)
	}
	return id
}

func checkWasm(s *subject) {
	m, err := wasm.Parse(s.in, s.size)
	if err != nil {
		s.damaged("WASM-HDR", err)
		return
	}
	damage := m.Check()
	s.damaged("WASM-HDR", damage.Module)
	for _, err := range damage.Custom {
		s.damaged("WASM-CUSTOM", err)
	}
	switch {
	case m.BuildIDNote != nil:
		s.damaged("WASM-NOID", m.BuildIDNote)
	case len(m.BuildIDs) == 0:
		s.add("WASM-NOID", 0, "found no build_id section")
	case zeroBuildID(m.BuildIDs[0]):
		s.add("WASM-NOID", 0, "its build id is %d zero bytes", len(m.BuildIDs[0]))
	}
	s.walkDWARF("WASM-DWARF", m, "")
	if m.Names && len(damage.Custom) == 0 {
		s.gives(catalog.QualityPublic)
	}
	if !m.DebugInfo && !m.Names && !m.External {
		s.add("WASM-NODBG", 0, "found no .debug_info, name or external_debug_info section")
	}
}
