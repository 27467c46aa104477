package validate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"

	"symkeep/internal/catalog"
)

// A Memory keeps what the checks of single files came to, so that content which is
// known under its path need not be read again: only the checks across the package
// are. What comes back must be what was kept, or nothing; entries of another build
// are passed over. It is called from several goroutines.
type Memory interface {
	Recall(f File) []byte
	Keep(f File, entry []byte)
}

// Bounds of what is remembered: reading less than MinRemembered again is cheaper, and
// entries over MaxRemembered are those of files with hundreds of keys.
const (
	MinRemembered = 64 << 10 // bytes of content
	MaxRemembered = 64 << 10 // bytes of an entry
)

// remembered is the form of an entry, in gob: strings inside are raw bytes of files.
type remembered struct {
	Version  string // of the checks, see checksVersion
	SHA256   catalog.Digest
	Path     string // some checks judge it
	Identity Identity
	Quality  []catalog.Quality
	Found    []rememberedFinding
	Facts    rememberedFacts
}

type rememberedFinding struct {
	Finding catalog.Finding
	Off     int64
}

// checksVersion stands for the checks of this build: the SHA-256 of the program. Any
// change of the code may change a finding, and no number that people raise by hand
// would be raised each time.
var checksVersion = sync.OnceValues(func() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
})

// check is checkFile, or what m remembers of it.
func check(ctx context.Context, f File, m Memory) (*subject, error) {
	if f.Source != "" {
		return sourceSubject(ctx, f)
	}
	if m == nil || !f.Explicit || f.Archive != nil || f.SHA256.IsZero() || f.Size < MinRemembered {
		return checkFile(ctx, f)
	}
	if s := thaw(ctx, f, m.Recall(f)); s != nil {
		return s, nil
	}
	s, err := checkFile(ctx, f)
	if err != nil {
		return nil, err
	}
	if entry, ok := s.freeze(); ok && len(entry) <= MaxRemembered {
		m.Keep(f, entry)
	}
	return s, nil
}

// freeze encodes a subject as its check left it. It reports false where that cannot
// be told in full, and for more findings than are listed.
func (s *subject) freeze() ([]byte, bool) {
	version, err := checksVersion()
	facts, ok := freezeFacts(s.facts)
	if err != nil || !ok || len(s.found) > MaxFindings {
		return nil, false
	}
	r := remembered{Version: version, SHA256: s.SHA256, Path: s.Path, Identity: s.Identity, Quality: s.qualities(), Facts: facts}
	for _, l := range s.found {
		r.Found = append(r.Found, rememberedFinding{l.Finding, l.off})
	}
	var b bytes.Buffer
	err = gob.NewEncoder(&b).Encode(r)
	return b.Bytes(), err == nil
}

// thaw returns the subject of an entry of f, nil if it is none of this build.
func thaw(ctx context.Context, f File, entry []byte) *subject {
	var r remembered
	version, err := checksVersion()
	if len(entry) == 0 || err != nil || gob.NewDecoder(bytes.NewReader(entry)).Decode(&r) != nil {
		return nil
	}
	if r.Version != version || r.SHA256 != f.SHA256 || r.Path != f.Path {
		return nil
	}
	s := newSubject(f)
	s.Identity = r.Identity
	s.ignored = Ignored(f, s.Identity)
	for _, q := range r.Quality {
		s.gives(q)
	}
	for _, l := range r.Found {
		s.found = append(s.found, located{l.Finding, l.Off})
	}
	if s.facts, err = r.Facts.thaw(ctx, f); err != nil {
		return nil
	}
	return s
}

// reopen gives the bytes of f to what only looks at headers.
func reopen[T any](ctx context.Context, f File, look func(in *input) (T, error)) (facts T, err error) {
	r, err := f.Open()
	if err != nil {
		return facts, fmt.Errorf("check %q: %w", f.Path, err)
	}
	defer r.Close()
	in := newInput(ctx, r, f.Size)
	defer in.release()
	if facts, err = look(in); err == nil {
		err = in.failure()
	}
	return facts, err
}
