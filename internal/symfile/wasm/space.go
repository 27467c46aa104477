package wasm

import "fmt"

// A space counts what indices of one kind refer to. Imports come first, then what the
// section of that kind holds. An index is judged only if all of that was read: of what
// strip or split tools leave behind, parts may be missing.
type space struct {
	count int64
	read  bool // the imports or the kind's own section were there
	lost  bool // something in them was not understood
}

func (s *space) add() { s.count++ }

// has reports whether an index is known to refer to something, or may do so.
func (s *space) has(index uint32) bool { return s.lost || !s.read || int64(index) < s.count }

// whole reports whether count is exact.
func (s *space) whole() bool { return s.read && !s.lost }

// spaces are the index spaces of a module. Core Specification 3.0, section 2.5.1.
type spaces struct {
	types, functions, tables, memories, globals, tags, elements, segments space

	parameters []int64 // of each type; notFunction for other types
	kinds      []value // of each global
	memory64   bool    // a memory has addresses of 64 bits
}

// notFunction stands among the numbers of parameters.
const notFunction = -1

// maxKept bounds parameters and kinds each. It is above what any engine takes.
const maxKept = 1 << 20

// addType adds a type of so many parameters.
func (s *spaces) addType(parameters int64) { s.parameters = keep(&s.types, s.parameters, parameters) }

// addGlobal adds a global of a kind.
func (s *spaces) addGlobal(kind value) { s.kinds = keep(&s.globals, s.kinds, kind) }

// keep adds one to a space, and what it is to those kept of it.
func keep[T any](s *space, kept []T, what T) []T {
	s.add()
	if len(kept) == maxKept {
		s.lost = true
		return kept
	}
	return append(kept, what)
}

// imported are the spaces that imports add to, by the number that imports and exports
// call each kind by.
func (s *spaces) imported() [5]*space {
	return [5]*space{&s.functions, &s.tables, &s.memories, &s.globals, &s.tags}
}

// index reads an index into one of the spaces; what names it in messages.
func (b *body) index(what string, of *space) (uint32, error) {
	at := b.at
	i, err := b.u32(what)
	if err == nil && !of.has(i) {
		err = damaged(at, what, fmt.Sprint(i), fmt.Sprintf("less than the %d there are", of.count))
	}
	return i, err
}

// functionType reads an index of a type that has to be one of functions, and returns
// the number of parameters, or notFunction if it is not known.
func (s *spaces) functionType(b *body) (int64, error) {
	at := b.at
	i, err := b.index("type index", &s.types)
	if err != nil || !s.types.whole() {
		return notFunction, err
	}
	n := s.parameters[i]
	if n == notFunction {
		err = damaged(at, "type index", fmt.Sprintf("%d, a struct or array", i), "one of functions")
	}
	return n, err
}
