package portablepdb

import "fmt"

// positions decodes the numbers of one list of source positions.
type positions struct {
	b   []byte
	bad bool
}

func (p *positions) unsigned() int64 {
	v, n := compressed(p.b)
	p.skip(n)
	return int64(v)
}

func (p *positions) signed() int64 {
	v, n := compressedSigned(p.b)
	p.skip(n)
	return v
}

func (p *positions) skip(n int) {
	if n == 0 {
		p.bad, p.b = true, nil
		return
	}
	p.b = p.b[n:]
}

// checkPositions decodes the positions at index: each is how far to go in the code, in
// lines and in columns. document is 0 for a method whose code comes from several.
// Source: PortablePdb-Metadata.md, "Sequence Points Blob".
func (t *tables) checkPositions(index, document uint32) error {
	off, n, err := t.text.blob(index)
	if err != nil {
		return err
	}
	b, err := t.text.bytes(off, n)
	if err != nil {
		return err
	}
	wrong := func(found, want string) error {
		return bad(ErrTables, t.text.s.Off+off, "source positions of a method", found, want)
	}
	p := &positions{b: b}
	p.unsigned() // signature of the variables
	documents := int64(t.rows[tableDocument])
	if document == 0 {
		if d := p.unsigned(); d == 0 || d > documents {
			return wrong(fmt.Sprintf("document %d", d), fmt.Sprintf("1 to %d", documents))
		}
	}
	line, column := int64(-1), int64(-1) // before the first that is not hidden
	for first := true; len(p.b) > 0; first = false {
		if p.unsigned() == 0 && !first {
			if d := p.unsigned(); d == 0 || d > documents {
				return wrong(fmt.Sprintf("document %d", d), fmt.Sprintf("1 to %d", documents))
			}
			continue
		}
		lines := p.unsigned()
		columns := int64(0)
		if lines == 0 {
			columns = p.unsigned()
		} else {
			columns = p.signed()
		}
		if lines == 0 && columns == 0 {
			continue // hidden
		}
		if line < 0 {
			line, column = p.unsigned(), p.unsigned()
		} else {
			line, column = line+p.signed(), column+p.signed()
		}
		if line < 0 || column < 0 || column+columns < 0 {
			p.bad = true
			break
		}
	}
	if p.bad {
		return wrong(fmt.Sprintf("%.40x", b), "numbers that lead to lines and columns")
	}
	return nil
}
