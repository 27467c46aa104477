package rig

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// delayQueue bounds the frames under way in one direction; more are lost, as in a
// router.
const delayQueue = 4096

// A delay is a piece of cable between a host's port and the bridge that takes its
// time. Kernels without netem cannot delay, so frames pass through this process:
// two tap devices, one on each end, with a queue for each direction.
type delay struct {
	each   atomic.Int64 // nanoseconds
	bridge string       // small one that joins the host's port and the first tap
	taps   [2]*os.File
	ending sync.WaitGroup
}

// A frame waits until it is due.
type frame struct {
	due  time.Time
	data []byte
}

// insertDelay splices a delay into a host's cable.
func (w *Network) insertDelay(h *Host, each time.Duration) (*delay, error) {
	d := &delay{bridge: fmt.Sprintf("delay%d", h.number)}
	d.each.Store(int64(each))
	var names [2]string
	for i := range d.taps {
		names[i] = fmt.Sprintf("%s%c%d", w.prefix, "ab"[i], h.number)
		var err error
		if d.taps[i], err = openTap(names[i]); err != nil {
			return nil, errors.Join(err, d.close())
		}
		if _, err := tool("ip", "link", "set", names[i], "netns", w.space(nil)); err != nil {
			return nil, errors.Join(err, d.close())
		}
	}
	err := w.batch(nil,
		fmt.Sprintf("link add %s type bridge", d.bridge),
		fmt.Sprintf("link set %s up", d.bridge),
		fmt.Sprintf("link set %s txqueuelen %d master %s up", names[0], delayQueue, d.bridge),
		fmt.Sprintf("link set %s txqueuelen %d master inside up", names[1], delayQueue),
		fmt.Sprintf("link set %s master %s", h.port("in"), d.bridge))
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	d.ending.Go(func() { d.carry(d.taps[0], d.taps[1]) })
	d.ending.Go(func() { d.carry(d.taps[1], d.taps[0]) })
	return d, nil
}

// removeDelay gives a host its plain cable back. Frames under way are lost.
func (w *Network) removeDelay(h *Host, d *delay) error {
	err := w.batch(nil, fmt.Sprintf("link set %s master inside", h.port("in")), "link del "+d.bridge)
	return errors.Join(err, d.close())
}

// stopDelays ends the goroutines; the namespaces and what is in them go next.
func (w *Network) stopDelays() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.wires {
		if l.delay != nil {
			_ = l.delay.close()
			l.delay = nil
		}
	}
}

func (d *delay) close() error {
	var errs []error
	for _, t := range d.taps {
		if t != nil {
			errs = append(errs, t.Close())
		}
	}
	d.ending.Wait()
	return errors.Join(errs...)
}

// carry moves frames in one direction until a tap is closed.
func (d *delay) carry(from, to *os.File) {
	queue := make(chan frame, delayQueue)
	d.ending.Go(func() {
		for f := range queue {
			time.Sleep(time.Until(f.due)) // the fault itself
			_, _ = to.Write(f.data)       // a full or closed device loses it
		}
	})
	defer close(queue)
	buf := make([]byte, 1<<16)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		f := frame{time.Now().Add(time.Duration(d.each.Load())), append([]byte(nil), buf[:n]...)}
		select {
		case queue <- f:
		default:
		}
	}
}

// openTap makes an Ethernet device whose frames are read and written here. It ends
// with the file.
func openTap(name string) (*os.File, error) {
	const (
		tunSetIff = 0x400454ca // linux/if_tun.h
		iffTap    = 0x0002
		iffNoPI   = 0x1000
	)
	fd, err := syscall.Open("/dev/net/tun", syscall.O_RDWR|syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	var req struct { // struct ifreq
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(req.name[:syscall.IFNAMSIZ-1], name)
	req.flags = iffTap | iffNoPI
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), tunSetIff, uintptr(unsafe.Pointer(&req))); errno != 0 {
		syscall.Close(fd)
		return nil, fmt.Errorf("tap device %s: %w", name, errno)
	}
	return os.NewFile(uintptr(fd), name), nil
}
