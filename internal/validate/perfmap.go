package validate

import (
	"encoding/hex"
	"errors"
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/perfmap"
	"symkeep/internal/symid"
)

func identifyPerfMap(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindPerfMap}
	h, err := perfmap.ReadHeader(r, size)
	if err != nil {
		return id
	}
	id.Arch = h.Arch()
	id.IDs = []catalog.IDs{{Arch: id.Arch}}
	id.addKey(symid.StoreKey(name, "r2rmap-v1-"+hex.EncodeToString(h.Signature[:])), RankPublic)
	return id
}

// checkPerfMap is R2RMAP-HDR and R2RMAP-RECORD.
func checkPerfMap(s *subject) {
	methods, err := perfmap.Scan(s.in, s.size)
	if errors.Is(err, perfmap.ErrHeader) {
		s.damaged("R2RMAP-HDR", err)
		return
	}
	s.damaged("R2RMAP-RECORD", err)
	if methods > 0 {
		s.gives(catalog.QualityPublic)
	} else if err == nil {
		s.add("R2RMAP-RECORD", s.size, "it lists no method")
	}
}
