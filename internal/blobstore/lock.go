package blobstore

import (
	"sync"

	"symkeep/internal/catalog"
)

// keyLocks is a lock per digest, kept only while someone holds or awaits it.
type keyLocks struct {
	mu    sync.Mutex
	locks map[catalog.Digest]*keyLock
}

type keyLock struct {
	mu    sync.Mutex
	users int
}

// lock waits for the digest's lock and returns its release.
func (k *keyLocks) lock(d catalog.Digest) (unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = make(map[catalog.Digest]*keyLock)
	}
	l := k.locks[d]
	if l == nil {
		l = &keyLock{}
		k.locks[d] = l
	}
	l.users++
	k.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, d)
		}
	}
}
