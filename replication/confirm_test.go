package replication_test

import (
	"testing"
	"time"

	"symkeep/internal/catalog"
)

// TestHaveWaitsForRemoval asks for a copy whose removal has been decided and not
// carried out yet: it must not be promised to anybody.
func TestHaveWaitsForRemoval(t *testing.T) {
	_, ns := idle(t)
	e := ns[0].stage("a", raw(1, 1000))
	answer := make(chan []*catalog.Packed, 1)
	gone, err := ns[0].store.RemoveIf(e.Digest, func() (bool, error) {
		go func() {
			have, err := ns[0].r.Have([]catalog.Digest{e.Digest})
			if err != nil {
				t.Error(err)
			}
			answer <- have
		}()
		select {
		case have := <-answer:
			t.Errorf("Have during a removal = %v, want no answer before its end", have)
			answer <- have
		case <-time.After(50 * time.Millisecond): // far longer than an answer takes
		}
		return true, nil
	})
	if err != nil || !gone {
		t.Fatalf("RemoveIf = %v, %v, want the copy gone", gone, err)
	}
	if have := <-answer; have[0] != nil {
		t.Errorf("Have after the removal = %v, want no copy", have[0])
	}
}
