package node

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// testSlowUploads: bodies that come slowly keep nobody from uploading, however many
// there are.
func testSlowUploads(t *testing.T, n *testNode) {
	const many = 3 * maxPacking
	var files []content
	for i := range many {
		files = append(files, breakpad(uint64(100+i), 200<<10))
	}
	id := n.open("slow", files...)
	release := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	var begun, slow, other sync.WaitGroup
	defer func() {
		letGo()
		slow.Wait()
		other.Wait()
	}()
	for _, f := range files {
		begun.Add(1)
		slow.Go(func() {
			half := sync.OnceFunc(begun.Done)
			wait := readFunc(func([]byte) (int, error) { half(); <-release; return 0, io.EOF })
			body := io.MultiReader(bytes.NewReader(f.bytes[:100<<10]), wait, bytes.NewReader(f.bytes[100<<10:]))
			if _, err := n.c.Upload(t.Context(), id, f.digest(), 0, int64(len(f.bytes)), body); err != nil {
				t.Errorf("slow upload of %s: %v", f.path, err)
			}
		})
	}
	begun.Wait()
	quick := make(chan struct{})
	other.Go(func() {
		defer close(quick)
		n.push("quick", breakpad(99, 1000))
	})
	eventually(t, 30*time.Second, func() bool {
		select {
		case <-quick:
			return true
		default:
			return false
		}
	}, func() string { return fmt.Sprintf("a push waits for %d slow uploads", many) })
	other.Wait()
	letGo()
	slow.Wait()
	n.commit(id, files...)
	n.await(id)
}
