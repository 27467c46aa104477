package node

import (
	"encoding/json"
	"path/filepath"
	"sync"

	"symkeep/internal/validate"
	"symkeep/internal/validate/known"
)

// knownBytes bounds the files of what was validated before: some ten thousand entries.
const knownBytes = 64 << 20

// mostKept bounds the new entries of one package, in bytes: they are in the memory of
// the child until it is done.
const mostKept = 32 << 20

// A childKept is what a validator child wants remembered of one file.
type childKept struct {
	No    int    `json:"no"`
	Entry []byte `json:"entry"`
}

// A childMemory is what a validator child was told of the files of its package, by
// number, and what it learned. It implements validate.Memory.
type childMemory struct {
	told map[int][]byte

	mu      sync.Mutex
	learned []childKept
	bytes   int
}

func (m *childMemory) Recall(f validate.File) []byte { return m.told[f.No] }

func (m *childMemory) Keep(f validate.File, entry []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes+len(entry) <= mostKept {
		m.bytes += len(entry)
		m.learned = append(m.learned, childKept{f.No, entry})
	}
}

// write tells the node what was learned.
func (m *childMemory) write(enc *json.Encoder) error {
	for i := range m.learned {
		if err := enc.Encode(childLine{Keep: &m.learned[i]}); err != nil {
			return err
		}
	}
	return nil
}

// openKnown opens what was validated before. A node works without it.
func (n *Node) openKnown() {
	var err error
	if n.known, err = known.Open(filepath.Join(n.cfg.DataDir, "known"), knownBytes); err != nil {
		n.log.Warn("every file is validated afresh", "err", err)
	}
}

// recall adds to the files what is known of them.
func (n *Node) recall(files []childFile) {
	for i := range files {
		if f := &files[i]; n.known != nil && f.Size >= validate.MinRemembered {
			f.Known = n.known.Get(f.SHA256, f.Path)
		}
	}
}

// remember keeps what a child learned of its files, whose numbers are their places.
func (n *Node) remember(files []childFile) func(childKept) {
	return func(k childKept) {
		if n.known == nil || k.No < 0 || k.No >= len(files) || len(k.Entry) > validate.MaxRemembered {
			return
		}
		f := files[k.No]
		if err := n.known.Put(f.SHA256, f.Path, k.Entry); err != nil {
			n.log.Debug("not remembered", "err", err)
		}
	}
}
