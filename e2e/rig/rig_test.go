package rig_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"symkeep/e2e/rig"
)

// roleVariable makes the test's program an echo server or a client of one, on a
// host of a rig.
const roleVariable = "SYMKEEP_RIG_TEST"

func TestMain(m *testing.M) {
	if code, ok := rig.Child(); ok {
		os.Exit(code)
	}
	switch role, arg, _ := strings.Cut(os.Getenv(roleVariable), " "); role {
	case "echo":
		echo()
	case "probe":
		probe(arg)
	case "bulk":
		bulk(arg)
	default:
		os.Exit(m.Run())
	}
}

// echo sends back what comes on port 9000, and the address of who runs it is told
// by a line when it listens.
func echo() {
	ln, err := net.Listen("tcp", ":9000")
	if err != nil {
		fmt.Println(err)
		return
	}
	pc, err := net.ListenPacket("udp", ":9000")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready")
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo(b[:n], from)
		}
	}()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			_, _ = io.Copy(c, c)
			c.Close()
		}()
	}
}

// roundTrip sends a few bytes over a connection and waits for them.
func roundTrip(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(250 * time.Millisecond))
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// probe prints how many of 20 round trips by UDP came back and the least time of
// one, and the same for TCP, each over a connection of its own.
func probe(addr string) {
	for _, network := range []string{"udp", "tcp"} {
		back, least := 0, time.Hour
		for i := range 20 {
			c, err := net.DialTimeout(network, addr+":9000", 250*time.Millisecond)
			if err != nil {
				break
			}
			if network == "tcp" { // the way there and back by itself
				_ = roundTrip(c)
			}
			begun := time.Now()
			if err := roundTrip(c); err == nil {
				back++
				least = min(least, time.Since(begun))
			} else if network == "tcp" || (back == 0 && i > 5) {
				c.Close()
				break
			}
			c.Close()
		}
		fmt.Printf("%s %d %d\n", network, back, least.Microseconds())
	}
}

// bulk prints how many milliseconds 300 kB there and back took.
func bulk(addr string) {
	c, err := net.DialTimeout("tcp", addr+":9000", time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	begun := time.Now()
	go func() { _, _ = c.Write(make([]byte, 300_000)) }()
	_, err = io.ReadFull(c, make([]byte, 300_000))
	fmt.Println(time.Since(begun).Milliseconds(), err)
}

// newRig makes a rig, and skips the test where there can be none, but not in CI.
func newRig(t *testing.T, cfg rig.Config) *rig.Rig {
	t.Helper()
	if err := rig.Supported(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v, and CI must not skip", err)
		}
		t.Skip(err)
	}
	cfg.Dir = t.TempDir()
	r, err := rig.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return r
}

// play runs the test's program on a host in a role.
func play(t *testing.T, h *rig.Host, role string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := h.Command(t.Context(), self)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

// serve runs an echo server on every host.
func serve(t *testing.T, r *rig.Rig) {
	t.Helper()
	for _, h := range r.Hosts() {
		cmd := play(t, h, "echo")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 6)
		if _, err := io.ReadFull(out, b); err != nil || string(b) != "ready\n" {
			t.Fatalf("echo on %s: %q, %v", h.Name, b, err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

// A view is what a probe found.
type view struct {
	udp, tcp         int
	udpLeast, tcpRTT time.Duration
}

// look probes a host from another. Its tests go on after an error.
func look(t *testing.T, from, to *rig.Host) (v view) {
	t.Helper()
	out, err := play(t, from, "probe "+to.Addr()).CombinedOutput()
	var udp, tcp int64
	if _, e := fmt.Sscanf(string(out), "udp %d %d\ntcp %d %d\n", &v.udp, &udp, &v.tcp, &tcp); err != nil || e != nil {
		t.Errorf("probe from %s to %s: %v, %v: %s", from.Name, to.Name, err, e, out)
	}
	v.udpLeast, v.tcpRTT = time.Duration(udp)*time.Microsecond, time.Duration(tcp)*time.Microsecond
	return v
}

// sees reports which ways are open from a host to another: "udp tcp", "tcp", "".
func sees(t *testing.T, from, to *rig.Host) string {
	t.Helper()
	v := look(t, from, to)
	var ways []string
	if v.udp >= 13 { // an address asked for while the cable was out is asked for again a second later
		ways = append(ways, "udp")
	}
	if v.tcp == 20 {
		ways = append(ways, "tcp")
	}
	return strings.Join(ways, " ")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNetwork(t *testing.T) {
	r := newRig(t, rig.Config{Hosts: 3})
	a, b, c := r.Host(1), r.Host(2), r.Host(3)
	serve(t, r)
	harness := func(h *rig.Host) error {
		conn, err := net.DialTimeout("tcp", h.Addr()+":9000", 300*time.Millisecond)
		if err != nil {
			return err
		}
		defer conn.Close()
		return roundTrip(conn)
	}
	const both = "udp tcp"
	for _, tt := range []struct {
		name       string
		fault      func() error
		ab, ac, bc string
	}{
		{"none", func() error { return nil }, both, both, both},
		{"cut", func() error { return r.Net.Cut(a) }, "", "", both},
		{"pair", func() error { return r.Net.CutPair(a, b) }, "", both, both},
		{"one way", func() error { return r.Net.CutOneWay(c, b) }, both, both, ""}, // the answers are lost
		{"bridge", func() error { return r.Net.Partition([]*rig.Host{b}, []*rig.Host{c}) }, both, both, ""},
		{"halves", func() error { return r.Net.Partition([]*rig.Host{a, b}, []*rig.Host{c}) }, both, "", ""},
		{"udp", func() error { return r.Net.DropUDP(b) }, "tcp", both, "tcp"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			must(t, tt.fault())
			var wg sync.WaitGroup
			for _, way := range []struct {
				from, to *rig.Host
				want     string
			}{{a, b, tt.ab}, {a, c, tt.ac}, {b, c, tt.bc}} {
				wg.Go(func() {
					if got := sees(t, way.from, way.to); got != way.want {
						t.Errorf("%s to %s: %q, want %q", way.from.Name, way.to.Name, got, way.want)
					}
				})
			}
			wg.Wait()
			for _, h := range r.Hosts() {
				if err := harness(h); err != nil {
					t.Errorf("the harness does not reach %s: %v", h.Name, err)
				}
			}
			must(t, r.Net.Heal())
		})
	}
	t.Run("outside", func(t *testing.T) {
		must(t, r.Net.CutOutside(a))
		if err := harness(a); err == nil {
			t.Errorf("the harness reaches %s", a.Name)
		}
		if got := sees(t, b, a); got != both {
			t.Errorf("b to a: %q, want %q", got, both)
		}
		must(t, r.Net.Heal())
		must(t, rig.Eventually(t.Context(), 5*time.Second, func() error { return harness(a) }))
	})
	t.Run("loss", func(t *testing.T) {
		must(t, r.Net.Lose(0.5, b))
		lost := 0
		for range 4 {
			lost += 20 - look(t, a, b).udp
			if lost > 0 && lost < 80 {
				break
			}
		}
		if lost == 0 || lost == 80 {
			t.Errorf("%d of 80 packets lost at a loss of half", lost)
		}
		must(t, r.Net.Heal())
	})
	t.Run("delay", func(t *testing.T) {
		must(t, r.Net.Delay(30*time.Millisecond, b))
		if v := look(t, a, b); v.udpLeast < 60*time.Millisecond || v.tcpRTT < 60*time.Millisecond || v.udp != 20 || v.tcp != 20 {
			t.Errorf("with 30 ms each way: %+v", v)
		}
		if v := look(t, a, c); v.tcpRTT > 20*time.Millisecond {
			t.Errorf("between hosts without delay: %+v", v)
		}
		must(t, r.Net.Heal())
		if v := look(t, a, b); v.tcpRTT > 20*time.Millisecond {
			t.Errorf("after Heal: %+v", v)
		}
	})
	t.Run("rate", func(t *testing.T) {
		took := func() (ms int) {
			out, err := play(t, a, "bulk "+b.Addr()).CombinedOutput()
			if _, e := fmt.Sscanf(string(out), "%d <nil>", &ms); err != nil || e != nil {
				t.Fatalf("bulk: %v, %v: %s", err, e, out)
			}
			return ms
		}
		free := took()
		must(t, r.Net.Limit(300_000, b))
		if limited := took(); limited < 800 {
			t.Errorf("300 kB both ways at 300 kB/s took %d ms; without limit %d ms", limited, free)
		}
		must(t, r.Net.Heal())
	})
	t.Run("address", func(t *testing.T) {
		before := b.Addr()
		old := b.Addr()
		must(t, b.Readdress())
		if conn, err := net.DialTimeout("tcp", old+":9000", 500*time.Millisecond); err == nil {
			conn.Close()
			t.Errorf("somebody answers at %s, which no host has any more", old)
		}
		if got := sees(t, a, b); b.Addr() == before || got != both {
			t.Errorf("a to b at %s, before %s: %q, want %q", b.Addr(), before, got, both)
		}
		if err := harness(b); err != nil {
			t.Errorf("the harness does not reach %s: %v", b.Addr(), err)
		}
	})
}

// writeSync writes and syncs a file as stores do.
func writeSync(path string, size int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	return errors.Join(err, f.Sync(), f.Close())
}

// within runs f and reports whether it ended in time. If not, ended tells later.
func within(limit time.Duration, f func() error) (err error, inTime bool, ended <-chan error) {
	c := make(chan error, 1)
	go func() { c <- f() }()
	select {
	case err := <-c:
		return err, true, nil
	case <-time.After(limit):
		return nil, false, c
	}
}

func TestDiskLoop(t *testing.T) {
	r := newRig(t, rig.Config{Hosts: 1, Disk: rig.Disk{Kind: rig.DiskLoop, Size: 32 << 20, Raft: 16 << 20}})
	h := r.Host(1)
	file := func(name string) string { return filepath.Join(h.DataDir(), name) }
	must(t, h.Fill(rig.Raft, 0))
	if err := writeSync(file("raft/x"), 64<<10); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("write to a full disk: %v, want %v", err, syscall.ENOSPC)
	}
	must(t, writeSync(file("x"), 1<<20)) // another disk
	must(t, h.Fill(rig.Data, 1<<20))
	if _, free, err := h.Space(rig.Data); err != nil || free > 1<<20 || free < 1<<19 {
		t.Errorf("%d bytes are free after Fill, want about 1 MiB: %v", free, err)
	}
	must(t, r.Heal())
	must(t, writeSync(file("raft/x"), 64<<10))

	must(t, h.Freeze(rig.Data))
	_, inTime, ended := within(200*time.Millisecond, func() error { return writeSync(file("y"), 1) })
	if inTime {
		t.Error("a write to a frozen disk returned")
	}
	must(t, h.Thaw(rig.Data))
	if ended != nil {
		must(t, <-ended)
	}
	must(t, h.Freeze(rig.Data)) // Close copes
}

func TestDiskFUSE(t *testing.T) {
	r := newRig(t, rig.Config{Hosts: 1, Disk: rig.Disk{Kind: rig.DiskFUSE}})
	h := r.Host(1)
	file := func(name string) string { return filepath.Join(h.DataDir(), name) }
	must(t, os.Mkdir(file("raft"), 0o755))
	must(t, writeSync(file("raft/x"), 100))
	must(t, writeSync(file("x"), 100))

	must(t, h.Sicken(rig.Sickness{SlowSync: 100 * time.Millisecond}))
	begun := time.Now()
	must(t, writeSync(file("x"), 100))
	if took := time.Since(begun); took < 100*time.Millisecond {
		t.Errorf("a slow fsync took %v", took)
	}
	must(t, h.Sicken(rig.Sickness{FailSync: true, Only: "raft/"}))
	if err := writeSync(file("raft/x"), 100); !errors.Is(err, syscall.EIO) {
		t.Errorf("a failing fsync: %v, want %v", err, syscall.EIO)
	}
	must(t, writeSync(file("x"), 100))
	must(t, h.Sicken(rig.Sickness{FailWrite: true}))
	if err := writeSync(file("x"), 100); !errors.Is(err, syscall.EIO) {
		t.Errorf("a failing write: %v, want %v", err, syscall.EIO)
	}
	must(t, h.Sicken(rig.Sickness{}))
	must(t, writeSync(file("x"), 100))
	must(t, h.Sicken(rig.Sickness{FailRead: "x"}))
	if _, err := os.ReadFile(file("x")); !errors.Is(err, syscall.EIO) {
		t.Errorf("a failing read: %v, want %v", err, syscall.EIO)
	}
	if _, err := os.ReadFile(file("raft/x")); err != nil {
		t.Errorf("a read of another file: %v", err)
	}
	for _, s := range []rig.Sickness{{HangSync: true}, {HangWrite: true}} {
		must(t, h.Sicken(s))
		_, inTime, ended := within(100*time.Millisecond, func() error { return writeSync(file("x"), 100) })
		if inTime {
			t.Errorf("%+v: the write returned", s)
		}
		must(t, r.Heal())
		if ended != nil {
			must(t, <-ended)
		}
	}

	// A shared mapping shows what is written beside it: bbolt depends on that.
	f, err := os.OpenFile(file("x"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	m, err := syscall.Mmap(int(f.Fd()), 0, 100, syscall.PROT_READ, syscall.MAP_SHARED)
	must(t, err)
	defer func() { must(t, syscall.Munmap(m)) }()
	if _, err := f.WriteAt([]byte("hello"), 7); err != nil || string(m[7:12]) != "hello" {
		t.Errorf("mapping shows %q after a write of %q: %v", m[7:12], "hello", err)
	}
}

// A rig whose process died leaves everything behind; the next one removes it.
func TestLeftovers(t *testing.T) {
	r := newRig(t, rig.Config{Hosts: 2, Disk: rig.Disk{Kind: rig.DiskLoop, Size: 16 << 20}})
	h := r.Host(1)
	sleep := h.Command(t.Context(), "sleep", "1000")
	must(t, sleep.Start())
	must(t, h.Freeze(rig.Data))
	if spaces, err := r.Namespaces(); err != nil || len(spaces) != 3 {
		t.Fatalf("namespaces of two hosts and their network: %q, %v", spaces, err)
	}
	r.Abandon()

	newRig(t, rig.Config{Hosts: 1})
	if err := sleep.Wait(); err == nil {
		t.Error("a process of the dead rig ended by itself")
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	if strings.Contains(string(mounts), h.DataDir()[:len(h.DataDir())-len("/data")]) {
		t.Errorf("a disk of the dead rig is still mounted:\n%s", mounts)
	}
	// Its addresses may be those of another process's rig by now.
	if spaces, err := r.Namespaces(); err != nil || len(spaces) > 0 {
		t.Errorf("namespaces of the dead rig: %q, %v", spaces, err)
	}
}
