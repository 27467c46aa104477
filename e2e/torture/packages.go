package main

import "fmt"

// draw makes up a package: some files of its own, maybe some that others have too,
// maybe some that compete with those of another one, maybe a bad one.
func (c *client) draw() *pkg {
	p := &pkg{expect: good}
	n := 1 + c.random.IntN(4)
	if c.random.IntN(30) == 0 {
		n = 15 + c.random.IntN(20)
	}
	for range n {
		p.files = append(p.files, newFile(c.random))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.random.IntN(10) {
	case 0, 1, 2: // shares
		for range min(2, len(c.recent)) {
			p.join(c.recent[c.random.IntN(len(c.recent))])
		}
	case 3: // competes
		p.expect = either
		if len(c.rivals) > 0 && c.random.IntN(3) > 0 {
			for _, f := range c.rivals[len(c.rivals)-1] {
				p.join(f.twist(c.random))
			}
		} else {
			c.rivals = append(c.rivals, p.files)
		}
		return p
	case 4:
		p.expect = failed
		p.files = append(p.files, spoil(c.random))
		return p
	}
	c.recent = append(c.recent, p.files[c.random.IntN(len(p.files))])
	if len(c.recent) > 20 {
		c.recent = c.recent[1:]
	}
	return p
}

// join adds a file, unless the package has one of that key.
func (p *pkg) join(f *file) {
	for _, g := range p.files {
		if g.key() == f.key() {
			return
		}
	}
	p.files = append(p.files, f)
}

// inPackage is the path of a file in its package.
func (p *pkg) inPackage(i int) string { return fmt.Sprintf("d%d/%s", i, p.files[i].base()) }
