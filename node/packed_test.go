package node

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// packedAs packs bytes under a name, as an agent does.
func packedAs(t *testing.T, name string, raw []byte) (cab.Info, []byte) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "packed"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := cab.NewWriter(f, cab.Options{RawSize: int64(len(raw)), Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(raw); err != nil {
		t.Fatal(err)
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return info, p
}

// sending says that a packed file stands for f.
func sending(id catalog.PackageID, f content, info cab.Info) api.Sending {
	return api.Sending{Package: id, Digest: f.digest(), Packed: catalog.Digest(info.PackedSHA256), Size: info.PackedSize}
}

// commitHeld commits a package of one file whose blob is held.
func (n *testNode) commitHeld(id catalog.PackageID) {
	n.t.Helper()
	if r, err := n.c.Commit(n.t.Context(), id, api.CommitRequest{Files: 1}); err != nil || len(r.Lacking) > 0 {
		n.t.Fatalf("commit = %+v, %v", r, err)
	}
}

// testPacked: a packed file is stored as it came, from where it broke off.
func testPacked(t *testing.T, n *testNode) {
	f := breakpad(200, 9<<20)
	info, p := packedAs(t, f.path, f.bytes)
	id := n.open("packed", f)
	s := sending(id, f, info)
	raw := api.Sending{Package: id, Digest: f.digest()}
	if st, err := n.c.UploadState(t.Context(), raw); err != nil || st != (api.UploadState{Packs: true}) {
		t.Fatalf("UploadState before = %+v, %v, want that packed files are taken", st, err)
	}
	cut := io.MultiReader(bytes.NewReader(p[:len(p)/2]), failing{errCut})
	if _, err := n.c.Send(t.Context(), s, 0, cut); err == nil {
		t.Fatal("upload of a body that breaks off succeeded")
	}
	var st api.UploadState
	eventually(t, 5*time.Second, func() bool {
		var err error
		if st, err = n.c.UploadState(t.Context(), s); err != nil || st.Complete {
			t.Fatalf("UploadState = %+v, %v", st, err)
		}
		return st.Offset >= int64(len(p))/2-uploadBuffer
	}, func() string { return "the bytes sent are not acknowledged" })
	if other, err := n.c.UploadState(t.Context(), raw); err != nil || other.Offset != 0 {
		t.Errorf("UploadState of the raw bytes = %+v, %v, want offset 0", other, err)
	}
	var r catalog.Receipt
	var err error
	eventually(t, 20*time.Second, func() bool {
		if st, err = n.c.UploadState(t.Context(), s); err == nil {
			r, err = n.c.Send(t.Context(), s, st.Offset, bytes.NewReader(p[st.Offset:]))
		}
		return !worthRetry(err)
	}, func() string { return "the rest is refused" })
	want := catalog.Packed{SHA256: s.Packed, Size: s.Size, Container: catalog.Container(cab.Cab)}
	if err != nil || r.Digest != f.digest() || r.RawSize != int64(len(f.bytes)) || r.Packed != want {
		t.Fatalf("upload of the rest = %+v, %v, want the packed file %+v", r, err, want)
	}
	if stored, err := os.ReadFile(n.blobs.Path(f.digest())); err != nil || !bytes.Equal(stored, p) {
		t.Errorf("%d bytes are stored, %v, want the %d that were sent", len(stored), err, len(p))
	}
	if st, err = n.c.UploadState(t.Context(), s); err != nil || !st.Complete {
		t.Errorf("UploadState afterwards = %+v, %v, want complete", st, err)
	}
	n.commitHeld(id)
	if st := n.await(id); st.State != catalog.StateGood {
		t.Fatalf("package is %s, want good", st.State)
	}
	n.serves(f)
}

// testPackedRefused: whatever is wrong with a packed file, nothing of it is kept, and
// the raw bytes are taken afterwards.
func testPackedRefused(t *testing.T, n *testNode) {
	f := breakpad(201, 3<<20)
	other := bytes.Clone(f.bytes)
	other[len(other)/2] ^= 1
	info, p := packedAs(t, f.path, f.bytes)
	id := n.open("packed refused", f)
	tmp := filepath.Join(n.blobs.Dir(), "tmp")
	before, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	flipped := func(at int) []byte {
		q := bytes.Clone(p)
		q[at] ^= 1
		return q
	}
	for _, tt := range []struct {
		name string
		make func() (cab.Info, []byte)
		want string
	}{
		{"other bytes", func() (cab.Info, []byte) { return packedAs(t, f.path, other) }, "raw SHA-256"},
		{"a bomb", func() (cab.Info, []byte) { return packedAs(t, f.path, make([]byte, 64<<20)) }, "raw SHA-256"},
		{"another name", func() (cab.Info, []byte) { return packedAs(t, "other.sym", f.bytes) }, `"other.sym"`},
		{"another packed hash", func() (cab.Info, []byte) {
			i := info
			i.PackedSHA256[0]++
			return i, p
		}, "packed SHA-256"},
		{"cut short", func() (cab.Info, []byte) {
			i := info
			i.PackedSize--
			return i, p[:len(p)-1]
		}, "its head says"},
		{"bytes behind", func() (cab.Info, []byte) {
			i := info
			i.PackedSize += 7
			return i, append(bytes.Clone(p), 1, 2, 3, 4, 5, 6, 7)
		}, "its head says"},
		{"damaged in its head", func() (cab.Info, []byte) { return info, flipped(130) }, "checksum disagree"},
		{"damaged in its middle", func() (cab.Info, []byte) { return info, flipped(len(p) / 2) }, "CRC32C"},
		{"damaged at its end", func() (cab.Info, []byte) { return info, flipped(len(p) - 1) }, "CRC32C"},
		{"raw bytes", func() (cab.Info, []byte) {
			i := info
			i.PackedSize = int64(len(f.bytes))
			return i, f.bytes
		}, "want a cabinet or a gzip member"},
		{"gzip", func() (cab.Info, []byte) {
			q := append([]byte{0x1f, 0x8b, 8, 0}, p[4:]...)
			return info, q
		}, "gzip file ends with"},
		{"larger than it can be", func() (cab.Info, []byte) {
			q := append(bytes.Clone(p), make([]byte, 4<<20)...)
			i := info
			i.PackedSize = int64(len(q))
			return i, q
		}, "take at most"},
	} {
		i, q := tt.make()
		_, err := n.c.Send(t.Context(), sending(id, f, i), 0, bytes.NewReader(q))
		for worthRetry(err) && !errors.Is(err, catalog.ErrInvalid) { // the answer came before the body had gone
			_, err = n.c.Send(t.Context(), sending(id, f, i), 0, bytes.NewReader(q))
		}
		if !errors.Is(err, catalog.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want ErrInvalid with %q", tt.name, err, tt.want)
		}
		if n.blobs.Has(f.digest()) || n.uploads.find(uploadKey{f.digest(), int64(len(f.bytes))}) != nil {
			t.Fatalf("%s: something of it is kept", tt.name)
		}
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) != len(before) {
		t.Errorf("%d files are in tmp, %v, want the %d from before", len(left), err, len(before))
	}
	n.commit(id, f)
	n.await(id)
	n.serves(f)
}

// testOtherForm: an upload that nobody goes on with gives way to one of other bytes of
// the same blob.
func testOtherForm(t *testing.T, n *testNode) {
	f := breakpad(202, 5<<20)
	info, p := packedAs(t, f.path, f.bytes)
	id := n.open("other form", f)
	key := uploadKey{f.digest(), int64(len(f.bytes))}
	cut := io.MultiReader(bytes.NewReader(f.bytes[:4<<20]), failing{errCut})
	if _, err := n.c.Upload(t.Context(), id, f.digest(), 0, int64(len(f.bytes)), cut); err == nil {
		t.Fatal("upload of a body that breaks off succeeded")
	}
	var s *uploadSession
	eventually(t, 5*time.Second, func() bool { // the client may be gone before the server begins
		s = n.uploads.find(key)
		return s != nil
	}, func() string { return "no session of the raw bytes was begun" })
	if s.form != (uploadForm{length: int64(len(f.bytes))}) {
		t.Fatalf("session = %+v, want one of the raw bytes", s)
	}
	if r, err := n.c.Send(t.Context(), sending(id, f, info), 0, bytes.NewReader(p)); err != nil || r.Packed.SHA256 != catalog.Digest(info.PackedSHA256) {
		t.Fatalf("upload of the packed file = %+v, %v", r, err)
	}
	if s := n.uploads.find(key); s != nil {
		t.Errorf("session = %+v, want none", s)
	}
	n.commitHeld(id)
	n.await(id)
}
