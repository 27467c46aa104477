package replication_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
	"symkeep/replication"
)

// rawOf decodes a packed blob and compares.
func rawOf(b replication.Blob, want []byte) error {
	r, err := cab.Open(b, b.Size())
	if err != nil {
		return err
	}
	got := make([]byte, r.Info().RawSize)
	if _, err := r.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("raw bytes differ")
	}
	return nil
}

func TestOpenLocalAndRemote(t *testing.T) {
	c, ns := idle(t)
	want := raw(1, 4<<20) // packs to about 3 MiB: several blocks
	e := ns[0].push("a", want)
	var remote *testNode
	for _, n := range ns {
		b, err := n.r.Open(bg, e.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if (b.File() == nil) == n.store.Has(e.Digest) {
			t.Errorf("node %s: local file %v, has the blob: %v", n.id, b.File() != nil, n.store.Has(e.Digest))
		}
		if b.File() == nil {
			remote = n
		}
		if err := rawOf(b, want); err != nil {
			t.Errorf("node %s: %v", n.id, err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if remote == nil {
		t.Fatal("every node had a copy: nothing was read from a peer")
	}
	b, err := remote.r.Open(bg, e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(ns[0].store.Path(e.Digest))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		rnd := rand.New(rand.NewPCG(uint64(i), 1))
		wg.Go(func() {
			for range 50 {
				off := rnd.Int64N(b.Size() + 10)
				p := make([]byte, rnd.IntN(200_000))
				n, err := b.ReadAt(p, off)
				end := min(off+int64(len(p)), b.Size())
				if n != int(max(0, end-off)) || !bytes.Equal(p[:n], packed[min(off, b.Size()):max(end, min(off, b.Size()))]) {
					t.Errorf("ReadAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
				}
				if (err == io.EOF) != (n < len(p)) {
					t.Errorf("ReadAt(%d bytes, %d) of %d: error = %v", len(p), off, b.Size(), err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt before the start succeeded")
	}
	b.Close()
	if _, err := b.ReadAt(make([]byte, 1<<20), 1<<20); err == nil {
		// Blocks that are here may still be given; a new one may not.
		t.Log("read of a kept block after Close")
	}
	_ = c
}

func TestOpenFailsOver(t *testing.T) {
	c, ns := idle(t)
	want := raw(1, 4<<20)
	e := ns[0].push("a", want)
	var reader *testNode
	var holders []*testNode
	for _, n := range ns {
		if n.store.Has(e.Digest) {
			holders = append(holders, n)
		} else {
			reader = n
		}
	}
	b, err := reader.r.Open(bg, e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	holders[0].off.Store(true) // dies while the blob is read
	if err := rawOf(b, want); err != nil {
		t.Errorf("one holder left: %v", err)
	}
	holders[0].off.Store(false)
	holders[0].dieAt.Store(1) // gossip still has it alive
	b2, err := reader.r.Open(bg, e.Digest)
	if err != nil {
		t.Fatalf("Open with one holder broken: %v", err)
	}
	if err := rawOf(b2, want); err != nil {
		t.Error(err)
	}
	b2.Close()
	holders[1].off.Store(true)
	if _, err := reader.r.Open(bg, e.Digest); !errors.Is(err, catalog.ErrUnavailable) || errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Open with no holder = %v, want ErrUnavailable", err)
	}
	if _, err := reader.r.Open(bg, catalog.Digest{1}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Open of an unknown blob = %v, want ErrNotFound", err)
	}
	ctx, cancel := context.WithCancel(bg)
	cancel()
	if _, err := reader.r.Open(ctx, e.Digest); err == nil {
		t.Error("Open with an ended context succeeded")
	}
	c.honest(e.Digest)
}

// TestOpenRefusesAnotherForm: a local copy or a peer's with other packed bytes
// would contradict the entity tag.
func TestOpenRefusesAnotherForm(t *testing.T) {
	_, ns := idle(t)
	b := raw(1, 2<<20) // too large to be remembered
	e := ns[0].push("a", b)
	for _, n := range ns[1:] {
		n.store.Remove(e.Digest)
		n.stage("b", b) // same size
	}
	blob, err := ns[2].r.Open(bg, e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	r, err := cab.Open(blob, blob.Size())
	if err != nil || catalog.Digest(r.Info().PackedSHA256) != e.Packed.SHA256 {
		t.Errorf("Open gave %+v, %v, want the established form", r.Info(), err)
	}
	ns[0].off.Store(true)
	if _, err := ns[2].r.Open(bg, e.Digest); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Open with only other forms = %v, want ErrUnavailable", err)
	}
}

func TestMaterialize(t *testing.T) {
	c, ns := idle(t)
	want := raw(1, 100_000)
	e := ns[0].push("a", want)
	for _, n := range ns {
		path, release, err := n.r.Materialize(bg, e.Digest)
		if err != nil {
			t.Fatal(err)
		}
		had := n.store.Has(e.Digest)
		if had {
			if err := n.store.Remove(e.Digest); err != nil { // the file must stay
				t.Fatal(err)
			}
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := cab.VerifyRaw(bg, f, e.Packed.Size)
		f.Close()
		if err != nil || info.RawSHA256 != e.Digest {
			t.Errorf("materialized %+v, %v", info, err)
		}
		if had {
			n.stage("a", want)
		}
		release()
		if len(n.tmp()) > 0 {
			t.Errorf("tmp holds %q after the release", n.tmp())
		}
		if !had && n.store.Has(e.Digest) {
			t.Error("a materialized blob became a copy of the node")
		}
	}
	c.honest(e.Digest)
	if _, _, err := ns[0].r.Materialize(bg, catalog.Digest{9}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("Materialize of an unknown blob = %v, want ErrNotFound", err)
	}
}

// TestSmallBlobsAreRemembered: a small blob that a member gave is asked for once, and
// is forgotten once there is doubt about it.
func TestSmallBlobsAreRemembered(t *testing.T) {
	_, ns := idle(t)
	want := raw(1, 100_000)
	e := ns[0].push("a", want)
	var reader *testNode
	for _, n := range ns {
		if !n.store.Has(e.Digest) {
			reader = n
		}
	}
	silence := func(off bool) {
		for _, n := range ns {
			n.off.Store(off && n != reader)
		}
	}
	read := func(d catalog.Digest, want []byte) error {
		b, err := reader.r.Open(bg, d)
		if err != nil {
			return err
		}
		defer b.Close()
		return rawOf(b, want)
	}
	silence(true)
	if err := read(e.Digest, want); !errors.Is(err, catalog.ErrUnavailable) {
		t.Fatalf("Open with no holder = %v, want ErrUnavailable", err)
	}
	silence(false)
	if err := read(e.Digest, want); err != nil {
		t.Fatal(err)
	}
	silence(true)
	for range 3 {
		if err := read(e.Digest, want); err != nil {
			t.Errorf("the second time: %v", err)
		}
	}
	reader.r.Suspect(e.Digest, errors.New("did not decode"))
	if err := read(e.Digest, want); !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Open after a doubt = %v, want ErrUnavailable", err)
	}
	silence(false)
	if err := read(e.Digest, want); err != nil {
		t.Error(err)
	}
}
