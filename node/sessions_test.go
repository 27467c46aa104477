package node

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"symkeep/internal/catalog"
)

// TestFullSessionTable: a full table gives way to another upload only where one has
// stood still, and never where bytes are being written.
func TestFullSessionTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{uploads: newUploadTable()}
		key := func(i int) uploadKey { return uploadKey{catalog.Digest{byte(i)}, 7} }
		for i := range maxSessions {
			s, err := n.takeSession(t.Context(), key(i), uploadForm{length: 7})
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 {
				<-s.busy // the first one goes on being written to
			}
			time.Sleep(time.Millisecond)
		}
		if _, err := n.takeSession(t.Context(), key(maxSessions), uploadForm{length: 7}); !errors.Is(err, catalog.ErrUnavailable) {
			t.Errorf("takeSession of a full table = %v, want ErrUnavailable", err)
		}
		time.Sleep(sessionStill + time.Second)
		n.uploads.find(key(1)).advance(1) // this one came back just now
		if _, err := n.takeSession(t.Context(), key(maxSessions), uploadForm{length: 7}); err != nil {
			t.Fatalf("takeSession with others standing still = %v, want nil", err)
		}
		if n.uploads.find(key(2)) != nil {
			t.Error("the session that stood still for longest is still there")
		}
		for _, i := range []int{0, 1, 3, maxSessions} {
			if n.uploads.find(key(i)) == nil {
				t.Errorf("session %d is gone, want only the one that stood still for longest to go", i)
			}
		}
	})
}

// TestSessionEndsWhileWaited: an upload that waited for a session which ended gets a
// new one, that the table knows and will sweep.
func TestSessionEndsWhileWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{uploads: newUploadTable()}
		key := uploadKey{catalog.Digest{1}, 7}
		first, err := n.takeSession(t.Context(), key, uploadForm{length: 7})
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan *uploadSession)
		go func() {
			s, err := n.takeSession(t.Context(), key, uploadForm{length: 7})
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		synctest.Wait()
		first.advance(3)
		n.endSession(first)
		<-first.busy
		second := <-got
		if second == first || n.uploads.find(key) != second || second.acked() != 0 {
			t.Errorf("session after one that ended: same %t, known %t, at offset %d, want a new known one at 0",
				second == first, n.uploads.find(key) == second, second.acked())
		}
	})
}
