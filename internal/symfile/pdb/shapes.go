package pdb

import (
	"bytes"
	"fmt"
)

// Kinds of symbol records that mean something here.
// Source: microsoft/microsoft-pdb, include/cvinfo.h, SYM_ENUM_e.
const (
	symEnd           = 0x0006
	symFrameProc     = 0x1012
	symAnnotation    = 0x1019
	symThunk         = 0x1102
	symBlock         = 0x1103
	symWith          = 0x1104
	symRegister      = 0x1106
	symConstant      = 0x1107
	symBPRel         = 0x110b
	symLocalData     = 0x110c
	symGlobalData    = 0x110d
	symPublic        = 0x110e
	symLocalProc     = 0x110f
	symGlobalProc    = 0x1110
	symRegRel        = 0x1111
	symManSlot       = 0x1120
	symGlobalManaged = 0x112a
	symLocalManaged  = 0x112b
	symSepCode       = 0x1132
	symLocal         = 0x113e
	symLocalProcID   = 0x1146
	symGlobalProcID  = 0x1147
	symInlineSite    = 0x114d
	symInlineSiteEnd = 0x114e
	symProcIDEnd     = 0x114f
	symLocalProcDPC  = 0x1155
	symLocalDPCID    = 0x1156
	symCallees       = 0x115a
	symCallers       = 0x115b
	symInlineSite2   = 0x115d
	symInlinees      = 0x1168
)

// A shape is the fixed part of a kind of symbol: how many bytes follow the kind, and
// where among them a name begins, 0 if there is none. A name ends with a NUL inside
// the record.
type shape struct {
	fixed int
	name  int
}

const (
	firstShape = 0x1000
	lastShape  = 0x11ff
)

// shapes holds the kinds that current compilers write. A kind without a shape is
// taken as it is: compilers add new ones.
var shapes = [lastShape - firstShape + 1]shape{
	symFrameProc - firstShape:     {fixed: 26},
	symAnnotation - firstShape:    {fixed: 8},
	0x1101 - firstShape:           {5, 4}, // S_OBJNAME
	symThunk - firstShape:         {22, 21},
	symBlock - firstShape:         {19, 18},
	0x1105 - firstShape:           {8, 7}, // S_LABEL32
	symRegister - firstShape:      {7, 6},
	symConstant - firstShape:      {fixed: 7}, // a number, then the name
	0x1108 - firstShape:           {5, 4},     // S_UDT
	symBPRel - firstShape:         {9, 8},
	symLocalData - firstShape:     {11, 10},
	symGlobalData - firstShape:    {11, 10},
	symPublic - firstShape:        {11, 10},
	symLocalProc - firstShape:     {36, 35},
	symGlobalProc - firstShape:    {36, 35},
	symRegRel - firstShape:        {11, 10},
	0x1112 - firstShape:           {11, 10}, // S_LTHREAD32
	0x1113 - firstShape:           {11, 10}, // S_GTHREAD32
	0x1116 - firstShape:           {19, 18}, // S_COMPILE2
	0x1125 - firstShape:           {11, 10}, // S_PROCREF
	0x1126 - firstShape:           {11, 10}, // S_DATAREF
	0x1127 - firstShape:           {11, 10}, // S_LPROCREF
	symGlobalManaged - firstShape: {38, 37},
	symLocalManaged - firstShape:  {38, 37},
	0x112c - firstShape:           {fixed: 16}, // S_TRAMPOLINE
	symSepCode - firstShape:       {fixed: 28},
	0x1136 - firstShape:           {17, 16},    // S_SECTION
	0x1137 - firstShape:           {15, 14},    // S_COFFGROUP
	0x1138 - firstShape:           {5, 4},      // S_EXPORT
	0x1139 - firstShape:           {fixed: 12}, // S_CALLSITEINFO
	0x113a - firstShape:           {fixed: 8},  // S_FRAMECOOKIE
	0x113c - firstShape:           {23, 22},    // S_COMPILE3
	symLocal - firstShape:         {7, 6},
	0x1141 - firstShape:           {fixed: 12}, // S_DEFRANGE_REGISTER
	0x1142 - firstShape:           {fixed: 12}, // S_DEFRANGE_FRAMEPOINTER_REL
	0x1143 - firstShape:           {fixed: 16}, // S_DEFRANGE_SUBFIELD_REGISTER
	0x1144 - firstShape:           {fixed: 4},  // S_DEFRANGE_FRAMEPOINTER_REL_FULL_SCOPE
	0x1145 - firstShape:           {fixed: 16}, // S_DEFRANGE_REGISTER_REL
	symLocalProcID - firstShape:   {36, 35},
	symGlobalProcID - firstShape:  {36, 35},
	0x114c - firstShape:           {fixed: 4}, // S_BUILDINFO
	symInlineSite - firstShape:    {fixed: 12},
	0x1153 - firstShape:           {11, 10}, // S_FILESTATIC
	symLocalProcDPC - firstShape:  {36, 35},
	symLocalDPCID - firstShape:    {36, 35},
	symCallees - firstShape:       {fixed: 4},
	symCallers - firstShape:       {fixed: 4},
	symInlineSite2 - firstShape:   {fixed: 16},
	symInlinees - firstShape:      {fixed: 4},
	0x115e - firstShape:           {fixed: 12}, // S_HEAPALLOCSITE
}

// checkSymbol wants a record of a known kind to hold its fixed fields and its name.
func checkSymbol(r record) error {
	if r.kind < firstShape || r.kind > lastShape {
		return nil
	}
	s := shapes[r.kind-firstShape]
	switch {
	case len(r.body) < s.fixed:
		return bad(ErrSymbols, r.off, fmt.Sprintf("symbol record of kind %#x", r.kind), fmt.Sprintf("%d bytes", len(r.body)), fmt.Sprintf("at least %d", s.fixed))
	case s.name > 0 && bytes.IndexByte(r.body[s.name:], 0) < 0, r.kind == symConstant && !constantEnds(r.body):
		return bad(ErrSymbols, r.off, fmt.Sprintf("name in a symbol record of kind %#x", r.kind), "no end", "a NUL inside the record")
	}
	switch r.kind {
	case symCallees, symCallers, symInlinees:
		if n, fit := int64(le.Uint32(r.body)), int64(len(r.body)-4)/4; n > fit {
			return bad(ErrSymbols, r.off, fmt.Sprintf("symbol record of kind %#x", r.kind), fmt.Sprintf("%d functions", n), fmt.Sprintf("at most %d", fit))
		}
	}
	return nil
}

// numberLens gives the bytes that a number takes after the word that says its type.
// Words below 0x8000 are the number. Source: cvinfo.h, LF_NUMERIC.
var numberLens = map[uint16]int{0x8000: 1, 0x8001: 2, 0x8002: 2, 0x8003: 4, 0x8004: 4, 0x8009: 8, 0x800a: 8}

// constantEnds reports whether the name of a constant, which follows a number, ends.
func constantEnds(body []byte) bool {
	word, rest := le.Uint16(body[4:]), body[6:]
	if word >= 0x8000 {
		n, known := numberLens[word]
		if !known {
			return true // of a type that this package does not know
		}
		rest = rest[min(n, len(rest)):]
	}
	return bytes.IndexByte(rest, 0) >= 0
}

// opensScope reports whether records up to the matching end belong to one of kind.
func opensScope(kind uint16) bool {
	switch kind {
	case symThunk, symBlock, symWith, symLocalProc, symGlobalProc, symGlobalManaged, symLocalManaged, symSepCode,
		symLocalProcID, symGlobalProcID, symInlineSite, symLocalProcDPC, symLocalDPCID, symInlineSite2:
		return true
	}
	return false
}

// endsScope reports whether a record of kind closes the innermost scope.
func endsScope(kind uint16) bool {
	return kind == symEnd || kind == symInlineSiteEnd || kind == symProcIDEnd
}

// isProc reports whether a record of kind is a function with a body.
func isProc(kind uint16) bool {
	switch kind {
	case symLocalProc, symGlobalProc, symGlobalManaged, symLocalManaged, symLocalProcID, symGlobalProcID, symLocalProcDPC, symLocalDPCID:
		return true
	}
	return false
}

// isVar reports whether a record of kind is a variable of a function or of a module.
func isVar(kind uint16) bool {
	switch kind {
	case symRegister, symBPRel, symLocalData, symGlobalData, symRegRel, symManSlot, symLocal:
		return true
	}
	return false
}

// scopesUnknown reports whether kind is one whose scope is not known: of compilers
// before 2003, or newer than this table.
func scopesUnknown(kind uint16) bool {
	return kind < 0x1101 && kind != symEnd && kind != symFrameProc && kind != symAnnotation || kind > 0x1180
}
