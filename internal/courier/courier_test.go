//go:build unix

package courier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/cab/cabtest"
	"symkeep/internal/catalog"
	"symkeep/internal/courier"
	"symkeep/replication"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "child" || os.Args[1] == "starved") {
		if os.Args[1] == "starved" {
			courier.SleepLate()
		}
		if err := courier.Child(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const cluster = catalog.ClusterID("00000000-0000-4000-8000-000000000001")

// A member gives blobs on its peer address.
type member struct {
	net.Listener
	handler atomic.Pointer[http.HandlerFunc]
}

// handle makes the member answer like that from now on.
func (m *member) handle(h http.HandlerFunc) { m.handler.Store(&h) }

// Accept takes the preamble off a connection.
func (m *member) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, _, err := api.ReadPreamble(conn, cluster); err != nil {
		conn.Close()
		return m.Accept()
	}
	return conn, nil
}

func startMember(t *testing.T, h http.HandlerFunc) *member {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &member{Listener: ln}
	m.handle(h)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*m.handler.Load())(w, r)
	})}
	go s.Serve(m)
	t.Cleanup(func() { s.Close() })
	return m
}

// gives returns what a member does that has the packed bytes.
func gives(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func newCourier(t *testing.T, m *member) *courier.Courier { return newCourierWith(t, m, "child") }

func newCourierWith(t *testing.T, m *member, command string) *courier.Courier {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := courier.New(courier.Config{
		Command: []string{exe, command}, Logger: slog.New(slog.DiscardHandler),
		Cluster: func() catalog.ClusterID { return cluster },
		Addr:    func(catalog.NodeID) string { return m.Addr().String() },
	})
	t.Cleanup(c.Close)
	return c
}

func emptyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "staged")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func part(info cab.Info, path string, offset, n int64) replication.Part {
	return replication.Part{Digest: info.RawSHA256, Total: info.PackedSize, Offset: offset, Bytes: n,
		Path: path, Begin: 20 * time.Second, Stall: 20 * time.Second}
}

// idlePolicy is SCHED_IDLE of sched(7), as proc_pid_stat(5) writes it.
const idlePolicy = "5"

// TestMoves: parts arrive at their places and verify, in one process of low priority.
func TestMoves(t *testing.T) {
	info, data := cabtest.Random(t, 1, 3<<20)
	m := startMember(t, gives(data))
	c := newCourier(t, m)
	path := emptyFile(t)
	half := info.PackedSize / 2
	for _, p := range []replication.Part{part(info, path, half, info.PackedSize-half), part(info, path, 0, half)} {
		if n, err := c.Fetch(t.Context(), "n2", p); err != nil || n != p.Bytes {
			t.Fatalf("Fetch from %d = %d, %v, want %d bytes", p.Offset, n, err, p.Bytes)
		}
	}
	pid := c.PID()
	if got, err := c.Verify(t.Context(), path, info.PackedSize); err != nil || got != info {
		t.Errorf("Verify = %+v, %v, want %+v", got, err, info)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the file has %d bytes, %v, want the %d of the member", len(got), err, len(data))
	}
	if c.PID() != pid {
		t.Error("another process did the second job")
	}
	if runtime.GOOS != "linux" {
		return
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has threads %v, %v", pid, threads, err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if fields := strings.Fields(rest); fields[38] != idlePolicy {
			t.Errorf("%s: policy %s, want %s", thread, fields[38], idlePolicy)
		}
	}
}

// TestErrors: those of the member and those of the file are told apart, and neither
// ends the process.
func TestErrors(t *testing.T) {
	info, data := cabtest.Random(t, 1, 100_000)
	m := startMember(t, nil)
	c := newCourier(t, m)
	for _, tt := range []struct {
		name   string
		handle http.HandlerFunc
		path   string
		copied int64
		file   bool
		want   error
	}{
		{name: "has none", handle: func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, want: catalog.ErrNotFound},
		{name: "another form", handle: gives(data[:len(data)-1]), want: catalog.ErrConflict},
		{name: "cut short", handle: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(data)-1, len(data)))
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[:5000])
		}, copied: 5000},
		{name: "no file", handle: gives(data), path: "/nowhere/at/all", file: true},
		{name: "full disk", handle: gives(data), path: "/dev/full", file: true, want: catalog.ErrFull},
	} {
		m.handle(tt.handle)
		path := tt.path
		if path == "" {
			path = emptyFile(t)
		}
		if path == "/dev/full" && runtime.GOOS != "linux" {
			continue
		}
		n, err := c.Fetch(t.Context(), "n2", part(info, path, 0, info.PackedSize))
		var file *replication.FileError
		if err == nil || n != tt.copied || errors.As(err, &file) != tt.file || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: Fetch = %d, %v, want %d bytes and an error of the file: %v, that is %v", tt.name, n, err, tt.copied, tt.file, tt.want)
		}
	}
	path := emptyFile(t)
	if err := os.WriteFile(path, append([]byte("MSCF"), data[4:len(data)-1]...), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Verify(t.Context(), path, info.PackedSize); err == nil {
		t.Error("Verify of a file that is cut short succeeded")
	}
}

// TestCalledOff: a job that is called off ends soon, also in a process that has to be
// killed for it.
func TestCalledOff(t *testing.T) {
	info, data := cabtest.Random(t, 1, 100_000)
	asked := make(chan struct{}, 2)
	m := startMember(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	c := newCourier(t, m)
	for _, stopped := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := c.Fetch(ctx, "n2", part(info, emptyFile(t), 0, info.PackedSize))
			done <- err
		}()
		<-asked
		pid := c.PID()
		if stopped {
			syscall.Kill(pid, syscall.SIGSTOP)
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("Fetch that was called off succeeded")
		}
		if gone := syscall.Kill(pid, 0) != nil; gone != stopped {
			t.Errorf("process stopped: %v, gone: %v", stopped, gone)
		}
	}
	m.handle(gives(data))
	if n, err := c.Fetch(t.Context(), "n2", part(info, emptyFile(t), 0, info.PackedSize)); err != nil || n != info.PackedSize {
		t.Errorf("Fetch after that = %d, %v, want %d bytes", n, err, info.PackedSize)
	}
}

// TestStarved: a process that gets no processor time gives its job back, and is not
// asked again for a while.
func TestStarved(t *testing.T) {
	t.Parallel()
	info, _ := cabtest.Random(t, 1, 100_000)
	asked := make(chan struct{}, 10)
	m := startMember(t, func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	c := newCourierWith(t, m, "starved")
	p := part(info, emptyFile(t), 0, info.PackedSize)
	for range 2 {
		if n, err := c.Fetch(t.Context(), "n2", p); n != 0 || !errors.Is(err, replication.ErrNoCourier) {
			t.Errorf("Fetch = %d, %v, want 0, %v", n, err, replication.ErrNoCourier)
		}
	}
	if len(asked) != 1 {
		t.Errorf("the member was asked %d times, want once", len(asked))
	}
}

// TestProcessDies: its jobs fail and may be tried again.
func TestProcessDies(t *testing.T) {
	info, data := cabtest.Random(t, 1, 100_000)
	asked := make(chan struct{}, 1)
	m := startMember(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	})
	c := newCourier(t, m)
	done := make(chan error, 1)
	path := emptyFile(t)
	go func() {
		_, err := c.Fetch(context.Background(), "n2", part(info, path, 0, info.PackedSize))
		done <- err
	}()
	<-asked
	syscall.Kill(c.PID(), syscall.SIGKILL)
	if err := <-done; !errors.Is(err, catalog.ErrUnavailable) {
		t.Errorf("Fetch by a process that was killed = %v, want ErrUnavailable", err)
	}
	m.handle(gives(data))
	if _, err := c.Fetch(t.Context(), "n2", part(info, path, 0, info.PackedSize)); err != nil {
		t.Errorf("Fetch after that = %v", err)
	}
	pid := c.PID()
	c.Close()
	if _, err := c.Fetch(t.Context(), "n2", part(info, path, 0, info.PackedSize)); !errors.Is(err, replication.ErrNoCourier) {
		t.Errorf("Fetch after Close = %v, want ErrNoCourier", err)
	}
	if syscall.Kill(pid, 0) == nil {
		t.Errorf("process %d is there after Close", pid)
	}
}

// TestNoProcess: where none can be started, that is what is said.
func TestNoProcess(t *testing.T) {
	c := courier.New(courier.Config{Command: []string{filepath.Join(t.TempDir(), "nothing")}, Logger: slog.New(slog.DiscardHandler),
		Cluster: func() catalog.ClusterID { return cluster }, Addr: func(catalog.NodeID) string { return "" }})
	defer c.Close()
	for range 2 {
		if _, err := c.Verify(t.Context(), "x", 1); !errors.Is(err, replication.ErrNoCourier) {
			t.Errorf("Verify = %v, want ErrNoCourier", err)
		}
	}
}

// TestInputEnds: a process whose node is gone ends, whatever it does.
func TestInputEnds(t *testing.T) {
	in, node := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- courier.Child(context.Background(), in, nopCloser{io.Discard}) }()
	node.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the process goes on")
	}
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }
