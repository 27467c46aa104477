package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/raftfsm"
	"symkeep/symhttp"
)

// TestOneNode runs what concerns a single node on one, since each takes a while to
// elect itself.
func TestOneNode(t *testing.T) {
	t.Parallel()
	n := startCluster(t, 1)[0]
	for _, tt := range []struct {
		name string
		run  func(*testing.T, *testNode)
	}{
		{"push", testPush},
		{"miss now", testMissNow},
		{"resume", testResume},
		{"wrong bytes", testWrongBytes},
		{"one blob twice", testOneBlobTwice},
		{"one digest, two lengths", testTwoLengths},
		{"commit without blobs", testCommitLacking},
		{"idempotency", testIdempotency},
		{"peer port", testPeerPort},
		{"living name", testLivingName},
		{"slow uploads", testSlowUploads},
		{"packed", testPacked},
		{"packed refused", testPackedRefused},
		{"other form", testOtherForm},
		{"archive", testArchive},
		{"archive refused", testArchiveRefused},
		{"stuck", testStuck},
		{"refused", testRefused},
		{"handing over", testHanding},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := *n
			in.t = t
			tt.run(t, &in)
		})
	}
	testRestart(t, n) // last: it has the packages of the others
}

func testPush(t *testing.T, n *testNode) {
	a, b := breakpad(1, 100), breakpad(2, 3<<20)
	n.push("push", a, b)
	n.serves(a)
	n.serves(b)
	if status, body := n.get("/none.pdb/0123456789ABCDEF0123456789ABCDEF1/none.pdb"); status != http.StatusNotFound || len(body) > 0 {
		t.Errorf("miss = %d with %d bytes, want 404 with none", status, len(body))
	}
	if checks := n.Ready(t.Context(), "ingest"); slices.ContainsFunc(checks, func(c symhttp.Check) bool { return c.Err != nil }) {
		t.Errorf("Ready for ingest = %v, want no error", checks)
	}
}

// errCut is why a body ends early.
var errCut = errors.New("cut by the test")

// testResume: the acknowledged bytes of a broken upload need not be sent again, and
// no others can stand in for them.
func testResume(t *testing.T, n *testNode) {
	f := breakpad(3, 6<<20)
	id := n.open("resume", f)
	size := int64(len(f.bytes))
	cut := io.MultiReader(bytes.NewReader(f.bytes[:4<<20]), failing{errCut})
	if _, err := n.c.Upload(t.Context(), id, f.digest(), 0, size, cut); err == nil {
		t.Fatal("upload of a body that breaks off succeeded")
	}
	var acked int64
	eventually(t, 5*time.Second, func() bool { // the server reads what is on the way
		var complete bool
		var err error
		if acked, complete, err = n.c.UploadOffset(t.Context(), id, f.digest()); err != nil || complete {
			t.Fatalf("UploadOffset = %d, complete %t, %v", acked, complete, err)
		}
		return acked >= 3<<20
	}, func() string { return fmt.Sprintf("%d bytes are acknowledged of 4 MiB sent", acked) })

	var err error
	eventually(t, 20*time.Second, func() bool {
		_, err = n.c.Upload(t.Context(), id, f.digest(), acked-1, size, bytes.NewReader(f.bytes[acked-1:]))
		return !wasReset(err)
	}, func() string { return "every answer is lost" })
	wantError(t, "upload from another offset", err, catalog.ErrConflict)
	var r catalog.Receipt
	eventually(t, 20*time.Second, func() bool { // as an agent does while the server still reads what was on the way
		if acked, _, err = n.c.UploadOffset(t.Context(), id, f.digest()); err == nil {
			r, err = n.c.Upload(t.Context(), id, f.digest(), acked, size, bytes.NewReader(f.bytes[acked:]))
		}
		return !worthRetry(err)
	}, func() string { return fmt.Sprintf("the rest from %d on is refused: %v", acked, err) })
	if err != nil || r.Digest != f.digest() || r.RawSize != size || len(r.Holders) != 1 {
		t.Fatalf("upload of the rest = %+v, %v", r, err)
	}
	n.commit(id, f) // its upload finds the blob held
	if st := n.await(id); st.State != catalog.StateGood {
		t.Fatalf("package is %s, want good", st.State)
	}
	n.serves(f)
}

// worthRetry reports whether an agent uploads again.
func worthRetry(err error) bool {
	return errors.Is(err, catalog.ErrConflict) || errors.Is(err, catalog.ErrUnavailable) || wasReset(err)
}

// wasReset reports whether the answer to an upload was lost. A server that answers
// before the body has come closes the connection, and a client that sends already,
// because the machine was slow, may find it reset before it reads the answer.
func wasReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// testWrongBytes: bytes that are not those announced are refused with a reason, and
// the right ones are taken afterwards.
func testWrongBytes(t *testing.T, n *testNode) {
	f := breakpad(4, 1000)
	id := n.open("wrong", f)
	other := bytes.Clone(f.bytes)
	other[500]++
	_, err := n.c.Upload(t.Context(), id, f.digest(), 0, int64(len(other)), bytes.NewReader(other))
	wantError(t, "upload of other bytes", err, catalog.ErrInvalid)
	if err == nil || !strings.Contains(err.Error(), f.digest().String()) || !strings.Contains(err.Error(), "push again") {
		t.Errorf("upload of other bytes: error %q does not say what was announced and what to do", err)
	}
	_, err = n.c.Upload(t.Context(), id, f.digest(), 0, int64(len(f.bytes))+1, bytes.NewReader(append(other, 0)))
	wantError(t, "upload of another length", err, catalog.ErrInvalid)
	stranger := breakpad(5, 1000)
	wantError(t, "upload of a file that is not listed", n.upload(id, stranger), catalog.ErrNotFound)
	n.commit(id, f)
	n.await(id)
}

// testOneBlobTwice: an agent sends a file while another is half way through it.
func testOneBlobTwice(t *testing.T, n *testNode) {
	f := breakpad(6, 4<<20)
	size := int64(len(f.bytes))
	first, second := n.open("twice 1", f), n.open("twice 2", f)
	persist := func(id catalog.PackageID, err error) error { // what agents do
		for worthRetry(err) {
			var acked int64
			if acked, _, err = n.c.UploadOffset(t.Context(), id, f.digest()); err == nil && acked < size {
				_, err = n.c.Upload(t.Context(), id, f.digest(), acked, size, bytes.NewReader(f.bytes[acked:]))
			}
		}
		return err
	}
	half, came := make(chan struct{}), make(chan struct{})
	halfOnce, cameOnce := sync.OnceFunc(func() { close(half) }), sync.OnceFunc(func() { close(came) })
	var both sync.WaitGroup
	both.Go(func() {
		meet := readFunc(func([]byte) (int, error) { halfOnce(); <-came; return 0, io.EOF })
		body := io.MultiReader(bytes.NewReader(f.bytes[:2<<20]), meet, bytes.NewReader(f.bytes[2<<20:]))
		_, err := n.c.Upload(t.Context(), first, f.digest(), 0, size, body)
		if err := persist(first, err); err != nil {
			t.Errorf("upload that another one came to: %v", err)
		}
	})
	both.Go(func() {
		<-half
		defer cameOnce()
		meet := readFunc(func([]byte) (int, error) { cameOnce(); return 0, io.EOF })
		_, err := n.c.Upload(t.Context(), second, f.digest(), 0, size, io.MultiReader(meet, bytes.NewReader(f.bytes)))
		cameOnce() // it may be refused from its header
		if err := persist(second, err); err != nil {
			t.Errorf("upload that came to another one: %v", err)
		}
	})
	both.Wait()
	for _, id := range []catalog.PackageID{first, second} {
		n.commit(id, f)
		if st := n.await(id); st.State != catalog.StateGood {
			t.Errorf("package is %s, want good", st.State)
		}
	}
	n.serves(f)
}

type readFunc func([]byte) (int, error)

func (r readFunc) Read(p []byte) (int, error) { return r(p) }

// testTwoLengths: a package that lists a digest with a wrong length does not keep
// one that lists the right length from uploading, not even with a broken upload.
func testTwoLengths(t *testing.T, n *testNode) {
	f := breakpad(7, 2000)
	r, err := n.c.Open(t.Context(), api.OpenRequest{IdempotencyKey: "lengths", Product: "app", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	wrong := f.entry()
	wrong.Size += 10
	if _, err := n.c.AddFiles(t.Context(), r.Package, api.AddFilesRequest{Files: []api.FileEntry{wrong}}); err != nil {
		t.Fatal(err)
	}
	cut := io.MultiReader(bytes.NewReader(f.bytes[:1000]), failing{errCut})
	if _, err := n.c.Upload(t.Context(), r.Package, f.digest(), 0, wrong.Size, cut); err == nil {
		t.Fatal("upload of a body that breaks off succeeded")
	}
	id := n.open("lengths right", f)
	n.commit(id, f)
	n.await(id)
	if _, err = n.c.Commit(t.Context(), r.Package, api.CommitRequest{Files: 1}); err == nil {
		t.Error("commit of a file with a wrong length succeeded")
	}
}

func testCommitLacking(t *testing.T, n *testNode) {
	a, b := breakpad(8, 100), breakpad(9, 100)
	id := n.open("lacking", a, b)
	if err := n.upload(id, a); err != nil {
		t.Fatal(err)
	}
	r, err := n.c.Commit(t.Context(), id, api.CommitRequest{Files: 2})
	if err != nil || r.State != catalog.StateOpen || !slices.Equal(r.Lacking, []catalog.Digest{b.digest()}) {
		t.Fatalf("commit without a blob = %+v, %v, want open, lacking %s", r, err, b.digest())
	}
	if err := n.upload(id, b); err != nil {
		t.Fatal(err)
	}
	_, err = n.c.Commit(t.Context(), id, api.CommitRequest{Files: 1})
	wantError(t, "commit of another number of files", err, catalog.ErrConflict)
	n.commit(id, a, b)
	n.await(id)
	again, err := n.c.Commit(t.Context(), id, api.CommitRequest{Files: 2})
	if err != nil || again.State == catalog.StateOpen {
		t.Errorf("second commit = %+v, %v, want the state it has come to", again, err)
	}
	wantError(t, "upload after the commit", n.upload(id, breakpad(10, 10)), catalog.ErrConflict)
}

func testIdempotency(t *testing.T, n *testNode) {
	a, b := breakpad(11, 100), breakpad(12, 100)
	id := n.open("same", a)
	if again := n.open("same", a); again != id {
		t.Errorf("second open under one key = %s, want %s", again, id)
	}
	_, err := n.c.AddFiles(t.Context(), id, api.AddFilesRequest{Files: []api.FileEntry{b.entry()}})
	wantError(t, "another file under a number", err, catalog.ErrConflict)
	_, err = n.c.Open(t.Context(), api.OpenRequest{IdempotencyKey: "same", Product: "app", Version: "2"})
	wantError(t, "another version under one key", err, catalog.ErrConflict)
	_, err = n.c.Open(t.Context(), api.OpenRequest{Product: "app", Version: "2"})
	wantError(t, "open without a key", err, catalog.ErrInvalid)
}

// testPeerPort: other clusters and strangers get nothing from the peer address, and
// one that belongs to none may only ask to join.
func testPeerPort(t *testing.T, n *testNode) {
	ask := func(cluster catalog.ClusterID) error {
		c := api.NewPeerClient(func() catalog.ClusterID { return cluster })
		defer c.Close()
		_, err := c.Status(t.Context(), n.peerAdvertised)
		return err
	}
	if err := ask(n.ClusterID()); err != nil {
		t.Errorf("status asked by a member = %v, want nil", err)
	}
	err := ask("7f2b1c1e-54a8-4b7c-9d0e-3a5f7c9b1d2e")
	wantError(t, "status asked from another cluster", err, catalog.ErrUnavailable)
	if !strings.Contains(n.log.String(), "refused peer connection") {
		t.Error("the log says nothing of the other cluster")
	}
	wantError(t, "status asked by a joiner", ask(""), catalog.ErrNotFound)

	raft, err := api.DialPeer(t.Context(), n.peerAdvertised, api.PeerRaft, "")
	if err != nil {
		t.Fatal(err)
	}
	defer raft.Close()
	wantClosed(t, "a raft connection of a joiner", raft)
	stranger, err := net.Dial("tcp", n.peerAdvertised)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	fmt.Fprintf(stranger, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", n.peerAdvertised)
	wantClosed(t, "a browser's connection", stranger)
}

func wantClosed(t *testing.T, what string, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(3 * time.Second))
	var timeout net.Error
	if k, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("%s: Read = %d, %v, want it closed", what, k, err)
	}
}

// testLivingName: nobody takes over the name or the address of a member that lives.
func testLivingName(t *testing.T, n *testNode) {
	c := api.NewPeerClient(func() catalog.ClusterID { return "" })
	defer c.Close()
	n.started = n.started.Add(-time.Hour) // gossip never saw it: it might be gone
	m := catalog.Member{ID: "5b1f8d5e-27ab-4b53-9b7a-0d1f6f3f3a11", Name: n.cfg.Name, PeerAddr: "127.0.0.1:1", HTTPAddr: "127.0.0.1:2", GossipAddr: "127.0.0.1:3"}
	_, err := c.Join(t.Context(), n.peerAdvertised, api.JoinRequest{Member: m, Fresh: true, Feature: raftfsm.MaxFeature})
	wantError(t, "join under the name of a living member", err, catalog.ErrConflict)
	m.Name, m.PeerAddr = "other", n.peerAdvertised
	_, err = c.Join(t.Context(), n.peerAdvertised, api.JoinRequest{Member: m, Fresh: true, Feature: raftfsm.MaxFeature})
	wantError(t, "join at the address of a living member", err, catalog.ErrConflict)
	m.PeerAddr = "127.0.0.1:1"
	_, err = c.Join(t.Context(), n.peerAdvertised, api.JoinRequest{Member: m, Feature: raftfsm.MaxFeature})
	wantError(t, "a node that says it was a member", err, catalog.ErrConflict)
	m.HTTPAddr = ""
	_, err = c.Join(t.Context(), n.peerAdvertised, api.JoinRequest{Member: m, Fresh: true, Feature: raftfsm.MaxFeature})
	wantError(t, "join without an address", err, catalog.ErrInvalid)
	if ms := n.members(); len(ms) != 1 || len(serverRoles(n.consensus())) != 1 {
		t.Errorf("members = %v, servers = %v after refused joins, want this node alone", ms, serverRoles(n.consensus()))
	}
}

// testStuck: a package on which three validators in a row die is set aside, which
// is no verdict; a retry validates it again.
func testStuck(t *testing.T, n *testNode) {
	n.setMood("exit")
	defer n.setMood("fine")
	f := breakpad(13, 100)
	id := n.open("stuck", f)
	n.commit(id, f)
	st := n.await(id)
	if st.State != catalog.StateStuck || st.Attempts != 3 || st.Reason == "" {
		t.Fatalf("package is %s after %d attempts (%s), want stuck after 3 with a reason", st.State, st.Attempts, st.Reason)
	}
	if status, _ := n.get(f.lookup()); status != http.StatusNotFound {
		t.Errorf("key of a stuck package = %d, want 404", status)
	}
	if !strings.Contains(n.log.String(), "no mood for this") {
		t.Error("the log does not show what the validator said last")
	}
	n.setMood("fine")
	if err := n.c.Retry(t.Context(), id); err != nil {
		t.Fatalf("retry: %v", err)
	}
	if st := n.await(id); st.State != catalog.StateGood {
		t.Errorf("package is %s after the retry, want good", st.State)
	}
	n.serves(f)
}

// testRefused: a validator that lives and cannot judge uses up attempts as well, so
// that a person is told.
func testRefused(t *testing.T, n *testNode) {
	n.setMood("refuse")
	defer n.setMood("fine")
	f := breakpad(14, 100)
	id := n.open("refused", f)
	n.commit(id, f)
	if st := n.await(id); st.State != catalog.StateStuck || st.Attempts != 3 {
		t.Errorf("package is %s after %d attempts, want stuck after 3", st.State, st.Attempts)
	}
	if !strings.Contains(n.log.String(), "not today") {
		t.Error("the log does not show what the validator said")
	}
}

// testHanding: while leadership is handed over a leader takes no commands, its own or
// forwarded ones, since raft looks at a hand-over between two writes of its log only.
func testHanding(t *testing.T, n *testNode) {
	c, cmd := n.consensus(), raftfsm.CheckContents{}
	propose := func() error {
		b, err := raftfsm.Encode(cmd)
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.proposeOnce(t.Context(), cmd, b)
		_, ferr := n.Propose(t.Context(), b)
		if (err == nil) != (ferr == nil) {
			t.Errorf("the command ends with %v, a forwarded one with %v", err, ferr)
		}
		return err
	}
	err := n.hand(func() raft.Future {
		wantError(t, "a command during the hand-over", propose(), api.ErrNotLeader)
		return c.raft.VerifyLeader()
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := propose(); err != nil {
		t.Errorf("a command after the hand-over = %v, want nil", err)
	}
}

// testRestart: everything is there after a restart, also at other addresses; the
// committed settings rule over a flag, which the log says.
func testRestart(t *testing.T, n *testNode) {
	before := n.ClusterID()
	n.halt()
	n.cfg.Settings.Replicas, n.cfg.SettingsGiven = 5, []string{"replicas"}
	n.cfg.NewCluster = Yes
	n.start()
	awaitHealthy(t, n)
	if got := n.ClusterID(); got != before {
		t.Errorf("cluster after a restart = %s, want %s", got, before)
	}
	n.serves(breakpad(1, 100))
	n.serves(breakpad(3, 6<<20))
	eventually(t, 5*time.Second, func() bool {
		return strings.Contains(n.log.String(), "flag differs from the cluster's setting")
	}, func() string { return "the log does not say that --replicas differs" })
	if got := n.settings().Replicas; got != 3 {
		t.Errorf("replicas = %d after a restart with another flag, want 3", got)
	}
	n.push("after restart", breakpad(14, 100))
}

// TestFirstStart: a node that is not to found a cluster and has nobody to join
// waits, answers, and stops when told to.
func TestFirstStart(t *testing.T) {
	t.Parallel()
	n := newTestNode(t, "alone")
	n.cfg.NewCluster = No
	n.start()
	_, err := n.c.Open(t.Context(), api.OpenRequest{IdempotencyKey: "k", Product: "p", Version: "1"})
	wantError(t, "open without a cluster", err, catalog.ErrUnavailable)
	if status, _ := n.get("/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz without a cluster = %d, want 503", status)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := n.c.ClusterJoin(ctx, api.ClusterJoinRequest{Addrs: []string{deadAddr(t)}}); err == nil {
		t.Error("join at an address where nobody is succeeded")
	}
	n.halt()
	if err := n.Close(); err != nil {
		t.Errorf("Close after Run = %v, want nil", err)
	}
	if _, err := n.PeerStatus(t.Context()); err == nil {
		t.Error("PeerStatus of a closed node succeeded")
	}
}
