package validate

import (
	"io"

	"symkeep/internal/catalog"
	"symkeep/internal/symfile/dbg"
	"symkeep/internal/symid"
)

func identifyDBG(r io.ReaderAt, size int64, name string) Identity {
	id := Identity{Class: ClassSymbol, Kind: catalog.KindDBG}
	f, err := dbg.Parse(r, size)
	if err != nil {
		return id
	}
	id.Arch = f.Arch()
	id.IDs = []catalog.IDs{{Arch: id.Arch, CodeID: f.ID.String()}}
	id.addKey(symid.PEKey(name, f.ID), RankFull)
	return id
}

func checkDBG(s *subject) {
	f, err := dbg.Parse(s.in, s.size)
	if err != nil {
		s.damaged("DBG-HDR", err)
		return
	}
	for _, t := range f.Types {
		switch t {
		case dbg.TypeCOFF, dbg.TypeCodeView:
			s.gives(catalog.QualityPublic)
		case dbg.TypeFPO:
			s.gives(catalog.QualityUnwind)
		}
	}
	s.add("DBG-OLD", 0, "holds debug data for the image %s", f.ID)
}
