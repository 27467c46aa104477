package symhttp

import (
	"os"
	"sync"
	"time"

	"symkeep/internal/catalog"
)

// verifiedFor is how long a whole file counts as checked: disks go bad slowly,
// and scrub looks at everything in turn.
const verifiedFor = 15 * time.Minute

// maxVerified bounds what is remembered.
const maxVerified = 8192

// verified remembers which local files were sent with every group checked, so
// that sendfile may send them next time.
type verified struct {
	now func() time.Time

	mu   sync.Mutex
	seen map[catalog.Digest]checked
}

type checked struct {
	file os.FileInfo
	at   time.Time
}

func newVerified(now func() time.Time) *verified {
	return &verified{now: now, seen: map[catalog.Digest]checked{}}
}

// add notes that the file was whole.
func (v *verified) add(d catalog.Digest, file os.FileInfo) {
	now := v.now()
	v.mu.Lock()
	defer v.mu.Unlock()
	for old := range v.seen { // which one does not matter: it is checked again
		if len(v.seen) < maxVerified {
			break
		}
		delete(v.seen, old)
	}
	v.seen[d] = checked{file, now}
}

// has reports whether this very file was whole not long ago.
func (v *verified) has(d catalog.Digest, file os.FileInfo) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.seen[d]
	if ok && v.now().Sub(c.at) > verifiedFor {
		delete(v.seen, d)
		return false
	}
	return ok && sameFile(c.file, file)
}

// drop forgets a file that turned out bad.
func (v *verified) drop(d catalog.Digest) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, d)
}
