package node

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"symkeep/internal/api"
	"symkeep/internal/blobstore"
	"symkeep/internal/catalog"
)

// ownDisk mounts a file system of that many MiB for one test. Without the rights it
// skips the test, but not in CI.
func ownDisk(t *testing.T, mib int) (dir string) {
	t.Helper()
	need := func(err error) {
		if err != nil && os.Getenv("CI") == "" {
			t.Skip("no disk of its own: ", err)
		} else if err != nil {
			t.Fatal("no disk of its own: ", err)
		}
	}
	if os.Getuid() != 0 {
		need(errors.New("this takes root"))
	}
	base := t.TempDir()
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "disk")
	need(os.Mkdir(dir, 0o755))
	need(os.WriteFile(image, nil, 0o600))
	need(os.Truncate(image, int64(mib)<<20))
	for _, cmd := range [][]string{{"mkfs.ext4", "-q", "-m", "0", image}, {"mount", "-o", "loop", image, dir}} {
		out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput()
		if err != nil {
			need(fmt.Errorf("%v: %w: %s", cmd, err, out))
		}
	}
	t.Cleanup(func() {
		_ = thaw(dir)   // else umount waits for ever
		if t.Failed() { // what is left of a node may still use it
			_ = exec.Command("umount", "-l", dir).Run()
		} else if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// freeze makes every write to a file system wait in the kernel, as a disk that does
// not answer does; thaw ends that.
func freeze(dir string) error { return ioctl(dir, 0xC0045877) } // FIFREEZE of linux/fs.h
func thaw(dir string) error   { return ioctl(dir, 0xC0045878) } // FITHAW

func ioctl(dir string, req uint) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, req, 0)
}

// TestHungDisk: a leader whose disk no longer answers is out of the cluster within
// seconds, with its sockets closed, although its threads are stuck in the kernel.
// The others go on; once the disk answers, a new start does, too.
func TestHungDisk(t *testing.T) {
	t.Parallel()
	disk := ownDisk(t, 64)
	nodes := []*testNode{newTestNode(t, "hangs")}
	n := nodes[0]
	n.cfg.DataDir, n.cfg.Disk.HungAfter = filepath.Join(disk, "data"), 3*time.Second
	exited := make(chan int, 1)
	n.cfg.Exit = func(status int) { exited <- status }
	n.start()
	for i := range 2 {
		o := newTestNode(t, fmt.Sprint("well", i))
		o.cfg.Join = []string{n.gossip.Addr()}
		o.start()
		nodes = append(nodes, o)
	}
	awaitHealthy(t, nodes...)
	if leader, _ := leaderOf(t, nodes...); leader != n {
		t.Skip("leadership moved before the test") // a slow machine
	}
	n.stay()
	idle, err := net.Dial("tcp", n.httpAdvertised) // a client that has asked nothing yet
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()

	if err := freeze(disk); err != nil {
		t.Fatal("freeze: ", err)
	}
	err = n.ends(n.cfg.Disk.HungAfter + 2*hangPatience)
	if err == nil || !strings.Contains(err.Error(), "disk hangs") {
		t.Errorf("Run with a disk that hangs = %v, want that said", err)
	}
	for _, addr := range []string{n.httpAdvertised, n.peerAdvertised, n.cfg.GossipAddr} {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			t.Errorf("a node with a hung disk still listens on %s", addr)
		}
	}
	wantClosed(t, "a connection to a node with a hung disk", idle)
	others := nodes[1:]
	leader, _ := leaderOf(t, others...)
	leader.push("without it", breakpad(31, 100))
	eventually(t, 20*time.Second, func() bool {
		return standing(leader, n, catalog.AlarmDiskHung) != "" || standing(leader, n, catalog.AlarmDiskSlow) != ""
	},
		func() string { return "the others know of no alarm about the disk" })
	select {
	case status := <-exited:
		if status != 1 {
			t.Errorf("exit status %d, want 1", status)
		}
	case <-time.After(3 * hangPatience):
		t.Error("nobody ended the process")
	}
	if err := thaw(disk); err != nil {
		t.Fatal("thaw: ", err)
	}
	n.severing.Wait() // all of it comes to an end once the disk answers
	n.cfg.Exit = nil
	n.start()
	awaitHealthy(t, nodes...)
	n.serves(breakpad(31, 100))
	eventually(t, 20*time.Second, func() bool {
		return standing(leader, n, catalog.AlarmDiskHung)+standing(leader, n, catalog.AlarmDiskSlow) == ""
	},
		func() string { return "the alarms of the disk stand although it is well" })
}

// fillUp takes space until that much is left.
func fillUp(t *testing.T, dir string, left int64) (path string) {
	t.Helper()
	path = filepath.Join(dir, "hog")
	_, avail, err := blobstore.OS{}.Usage(dir)
	if err != nil {
		t.Fatal(err)
	}
	st, _ := os.Stat(path)
	size := avail - left
	if st != nil {
		size += st.Size()
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		t.Fatalf("fill the disk up to %d bytes left: %v", left, err)
	}
	return path
}

// TestFullDisk: the fuller the disk of a lone node is, the less it does, with a text
// that says why; when there is nothing left, it stops in order. Once there is space
// it goes on, without anybody's help but that of its supervisor.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	disk := ownDisk(t, 128)
	n := newTestNode(t, "full")
	n.cfg.DataDir, n.cfg.Disk.Ballast = filepath.Join(disk, "data"), 2*mib
	n.cfg.CacheBytes = 0
	n.start()
	awaitHealthy(t, n)
	f := breakpad(41, 1000)
	n.push("early", f)
	eventually(t, 10*time.Second, func() bool { return n.ballast.bytes() == 2*mib }, func() string { return "there is no ballast" })
	if st, err := os.Stat(n.ballast.path); err != nil || st.Sys() == nil {
		t.Fatal(err)
	}
	sp, err := n.blobs.Space()
	if err != nil {
		t.Fatal(err)
	}
	total := sp.Used + sp.Avail

	// There is room for this archive, but not for what is in it.
	id := n.open("late", breakpad(42, 1000))
	swelling := make([]byte, 160*mib)
	for i := 0; i < len(swelling); i += 100 {
		swelling[i] = byte(i>>8 ^ i)
	}
	_, err = n.putArchive(id, "a.zip", archiveOf(t, content{"a.sym", swelling}))
	wantError(t, "archive that does not fit unpacked", err, catalog.ErrFull)
	if left := n.spooled(); len(left) > 0 {
		t.Errorf("unpacked files are left on a full disk: %v", left)
	}

	fillUp(t, disk, total*6/100) // no-ingest
	_, err = n.putArchive(id, "a.zip", archiveOf(t, breakpad(42, 1000)))
	wantError(t, "archive on a disk at no-ingest", err, catalog.ErrFull)
	err = n.upload(id, breakpad(42, 1000))
	wantError(t, "upload on a disk at no-ingest", err, catalog.ErrFull)
	for _, want := range []string{"92 %", fmt.Sprint(total, " bytes"), "free or add disk space"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("upload on a disk at no-ingest: %v does not say %q", err, want)
		}
	}
	fillUp(t, disk, total*2/100) // read-only
	_, err = n.c.Open(t.Context(), api.OpenRequest{IdempotencyKey: "later", Product: "app", Version: "1"})
	wantError(t, "open on a disk at read-only", err, catalog.ErrFull)
	if st := n.diskStatus(); st.Level != string(blobstore.LevelReadOnly) {
		t.Errorf("level = %s, want %s", st.Level, blobstore.LevelReadOnly)
	}
	if status, body := n.get("/readyz?for=ingest"); status != http.StatusServiceUnavailable || !strings.Contains(string(body), "disk") {
		t.Errorf("/readyz?for=ingest on a full disk = %d %s, want 503 that names the disk", status, body)
	}
	n.serves(f)
	eventually(t, 15*time.Second, func() bool { return strings.Contains(standing(n, n, catalog.AlarmDiskFull), "read-only") },
		func() string { return fmt.Sprintf("alarms are %v, want one of the full disk", n.fsm.Alarms()) })

	// The ballast goes when there is nothing left, and the log goes on in its place.
	fillUp(t, disk, 0)
	before := n.AppliedIndex()
	eventually(t, 20*time.Second, func() bool { return n.ballast.bytes() == 0 }, func() string { return "the ballast is not given up" })
	eventually(t, 10*time.Second, func() bool { return n.AppliedIndex() > before+2 }, func() string { return "the log does not go on" })

	// And when that is used up, too, the node stops.
	hog(t, disk)
	err = n.ends(60 * time.Second)
	if err == nil || !strings.Contains(err.Error(), "the disk is full: free or add disk space") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("Run on a disk without a byte left = %v, want one line that says so", err)
	}
	for _, name := range []string{"hog", "hog2"} {
		if err := os.Remove(filepath.Join(disk, name)); err != nil {
			t.Fatal(err)
		}
	}
	n.start()
	awaitHealthy(t, n)
	n.serves(f)
	n.push("again", breakpad(43, 1000))
	eventually(t, 15*time.Second, func() bool { return n.ballast.bytes() == 2*mib && standing(n, n, catalog.AlarmDiskFull) == "" },
		func() string {
			return fmt.Sprintf("ballast of %d bytes, alarms %v once there is space", n.ballast.bytes(), n.fsm.Alarms())
		})
}

// hog takes what is left to the last block, and what becomes free later.
func hog(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "hog2"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	_, _ = io.WriteString(f, "x")
}
