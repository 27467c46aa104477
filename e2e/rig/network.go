package rig

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// maxHosts leaves each host eight addresses for itself.
const maxHosts = 28

// A Network is what can be wrong between hosts. Every method returns once the fault
// is in force; faults add up until Heal. The link to the harness is not touched,
// except by CutOutside.
//
// Packets are dropped where they arrive, as on a wire: a sender's system that
// dropped them would tell the sender.
type Network struct {
	prefix         string
	inside, beyond [3]byte // networks /24 of the hosts, and of the harness and the hosts

	mu     sync.Mutex
	hosts  []*Host
	wires  map[*Host]*wire
	drops  map[[2]*Host]bool // from, to
	links  map[string]bool   // ports that are down
	limits map[*Host]bool
}

// A wire is what is wrong with all of a host's packets.
type wire struct {
	noUDP bool
	loss  float64
	delay *delay
}

// newNetwork makes a namespace with two bridges and one per host, and a link from
// the harness to the second bridge.
func newNetwork(prefix string, hosts []*Host) (*Network, error) {
	w := &Network{prefix: prefix, hosts: hosts, wires: map[*Host]*wire{}, drops: map[[2]*Host]bool{},
		links: map[string]bool{}, limits: map[*Host]bool{}}
	if err := w.chooseNetworks(); err != nil {
		return nil, err
	}
	if _, err := tool("ip", "netns", "add", w.space(nil)); err != nil {
		return nil, err
	}
	up := w.prefix + "up"
	_, err := toolInput(fmt.Sprintf(`link add inside type bridge
link add outside type bridge
link set inside up
link set outside up
link add uplink type veth peer name %s netns %d
link set uplink master outside up
`, up, os.Getpid()), "ip", "-n", w.space(nil), "-batch", "-")
	if err != nil {
		return nil, err
	}
	// Addresses that no host has any more lead nowhere: whatever stands at the end of
	// the machine's default route may answer for everybody.
	if _, err = toolInput(fmt.Sprintf("addr add %s/24 dev %s\nlink set %s up\nroute add %s/24 dev %s\n",
		w.outside(), up, up, dotted(w.inside, 0), up), "ip", "-batch", "-"); err != nil {
		return nil, err
	}
	for _, h := range hosts {
		w.wires[h] = &wire{}
		h.setAddr(dotted(w.inside, byte(h.number)))
		if err := w.addHost(h); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// chooseNetworks picks two networks that this machine has no address in.
func (w *Network) chooseNetworks() error {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for range 100 {
		a, b := byte(64+rand.IntN(128)), byte(2*rand.IntN(128))
		w.inside, w.beyond = [3]byte{10, a, b}, [3]byte{10, a, b + 1}
		both := net.IPNet{IP: net.IPv4(10, a, b, 0).To4(), Mask: net.CIDRMask(23, 32)}
		if !overlaps(both, addrs) {
			return nil
		}
	}
	return errors.New("networks in 10.64.0.0 to 10.191.255.255: none found that this machine is not in")
}

func overlaps(n net.IPNet, addrs []net.Addr) bool {
	for _, a := range addrs {
		if o, ok := a.(*net.IPNet); ok && (n.Contains(o.IP) || o.Contains(n.IP)) {
			return true
		}
	}
	return false
}

func dotted(n [3]byte, last byte) string { return fmt.Sprintf("%d.%d.%d.%d", n[0], n[1], n[2], last) }

// space is the name of a host's namespace; nil: that of the bridges.
func (w *Network) space(h *Host) string {
	if h == nil {
		return w.prefix + "-0"
	}
	return fmt.Sprintf("%s-%d", w.prefix, h.number)
}

// outside is the harness's own address.
func (w *Network) outside() string { return dotted(w.beyond, 254) }

// batch runs lines of ip in the namespace of a host, or of the bridges.
func (w *Network) batch(h *Host, lines ...string) error {
	_, err := toolInput(strings.Join(lines, "\n")+"\n", "ip", "-n", w.space(h), "-batch", "-")
	return err
}

func (w *Network) addHost(h *Host) error {
	if _, err := tool("ip", "netns", "add", w.space(h)); err != nil {
		return err
	}
	in, out := h.port("in"), h.port("out")
	return errors.Join(
		w.batch(nil,
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s", in, w.space(h)),
			fmt.Sprintf("link add %s type veth peer name out0 netns %s", out, w.space(h)),
			fmt.Sprintf("link set %s master inside up", in),
			fmt.Sprintf("link set %s master outside up", out)),
		w.batch(h, "link set lo up", "link set eth0 up", "link set out0 up",
			fmt.Sprintf("addr add %s/24 dev out0", dotted(w.beyond, byte(h.number))),
			fmt.Sprintf("addr add %s/24 dev eth0", h.Addr())),
		w.route("replace", h))
}

// route makes the harness reach a host's address by the outside, or no longer.
func (w *Network) route(verb string, h *Host) error {
	_, err := tool("ip", "route", verb, h.Addr()+"/32", "via", dotted(w.beyond, byte(h.number)), "dev", w.prefix+"up")
	return err
}

// readdress moves a host to the next of its addresses.
func (w *Network) readdress(h *Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	leave := w.route("del", h)
	h.moves = (h.moves + 1) % 8
	h.setAddr(dotted(w.inside, byte(h.number+maxHosts*h.moves)))
	return errors.Join(leave, w.batch(h, "addr flush dev eth0", fmt.Sprintf("addr add %s/24 dev eth0", h.Addr())),
		w.route("replace", h), w.filterAll())
}

// Cut pulls the cable of hosts: nothing gets in or out.
func (w *Network) Cut(hosts ...*Host) error { return w.setLinks("in", "down", hosts) }

// Plug puts the cable back.
func (w *Network) Plug(hosts ...*Host) error { return w.setLinks("in", "up", hosts) }

// CutOutside keeps the harness from reaching hosts, and them from it.
func (w *Network) CutOutside(hosts ...*Host) error { return w.setLinks("out", "down", hosts) }

func (w *Network) setLinks(side, state string, hosts []*Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, h := range hosts {
		w.links[h.port(side)] = state == "down"
		lines = append(lines, fmt.Sprintf("link set %s %s", h.port(side), state))
	}
	if err := w.batch(nil, lines...); err != nil || state == "down" {
		return err
	}
	return w.awaitLinks(map[string]string{"in": "eth0", "out": "out0"}[side], hosts)
}

// awaitLinks waits until a link of each of the hosts carries packets: the kernel takes up to a
// second to notice a plugged cable.
func (w *Network) awaitLinks(dev string, hosts []*Host) error {
	for _, h := range hosts {
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) { // nothing to wait on
			out, err := tool("ip", "-n", w.space(h), "-br", "link", "show", "dev", dev)
			if err != nil {
				return err
			}
			if !strings.Contains(out, " DOWN ") && !strings.Contains(out, "LOWERLAYERDOWN") {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("link of %s stays down: %s", h.Name, out)
			}
		}
	}
	return nil
}

// CutPair makes a and b lose what they send each other; both still see the others.
func (w *Network) CutPair(a, b *Host) error {
	return errors.Join(w.CutOneWay(a, b), w.CutOneWay(b, a))
}

// CutOneWay makes from's packets to to get lost, but not those of the other way.
func (w *Network) CutOneWay(from, to *Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drops[[2]*Host{from, to}] = true
	return w.filter(to)
}

// Partition cuts every pair of hosts that are in different groups. Hosts in no
// group see everyone: Partition([b], [c]) leaves a as the bridge between them.
func (w *Network) Partition(groups ...[]*Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, group := range groups {
		for _, other := range append(append([][]*Host(nil), groups[:i]...), groups[i+1:]...) {
			for _, from := range group {
				for _, to := range other {
					w.drops[[2]*Host{from, to}] = true
				}
			}
		}
	}
	return w.filterAll()
}

// DropUDP makes hosts receive no UDP.
func (w *Network) DropUDP(hosts ...*Host) error {
	return w.change(hosts, func(l *wire) { l.noUDP = true })
}

// Lose makes hosts lose this share, 0 to 1, of the packets that they are sent.
func (w *Network) Lose(share float64, hosts ...*Host) error {
	return w.change(hosts, func(l *wire) { l.loss = share })
}

func (w *Network) change(hosts []*Host, f func(*wire)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range hosts {
		f(w.wires[h])
		if err := w.filter(h); err != nil {
			return err
		}
	}
	return nil
}

// filter puts the rules of what a host receives in force, all at once.
func (w *Network) filter(to *Host) error {
	var rules strings.Builder
	for pair := range w.drops {
		if pair[1] == to {
			fmt.Fprintf(&rules, "    iifname eth0 ip saddr %s drop\n", pair[0].Addr())
		}
	}
	if w.wires[to].noUDP {
		rules.WriteString("    iifname eth0 meta l4proto udp drop\n")
	}
	if share := w.wires[to].loss; share > 0 {
		fmt.Fprintf(&rules, "    iifname eth0 numgen random mod 10000 < %d drop\n", min(int(share*10000), 9999))
	}
	_, err := toolInput("table inet rig\ndelete table inet rig\ntable inet rig {\n  chain in {\n    type filter hook input priority -10\n"+
		rules.String()+"  }\n}\n", "nsenter", "--net=/run/netns/"+w.space(to), "nft", "-f", "-")
	return err
}

func (w *Network) filterAll() error {
	var errs []error
	for _, h := range w.hosts {
		errs = append(errs, w.filter(h))
	}
	return errors.Join(errs...)
}

// Limit lets hosts send and receive so many bytes per second.
func (w *Network) Limit(bytesPerSecond int64, hosts ...*Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A bucket below one tick's worth would limit to less; one below a frame to nothing.
	burst := max(bytesPerSecond/100, 16<<10)
	shape := []string{"root", "tbf", "rate", fmt.Sprintf("%dbps", bytesPerSecond), "burst", fmt.Sprint(burst), "latency", "400ms"}
	for _, h := range hosts {
		w.limits[h] = true
		for _, at := range []struct{ space, dev string }{{w.space(nil), h.port("in")}, {w.space(h), "eth0"}} {
			if _, err := tool("tc", append([]string{"-n", at.space, "qdisc", "replace", "dev", at.dev}, shape...)...); err != nil {
				return err
			}
		}
	}
	return nil
}

// Delay makes every packet to and from hosts, of TCP and UDP alike, take so much
// longer each way. Connections live on.
func (w *Network) Delay(each time.Duration, hosts ...*Host) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range hosts {
		if d := w.wires[h].delay; d != nil {
			d.each.Store(int64(each))
			continue
		}
		d, err := w.insertDelay(h, each)
		if err != nil {
			return fmt.Errorf("delay for %s: %w", h.Name, err)
		}
		w.wires[h].delay = d
	}
	return nil
}

// Heal ends every fault of the network.
func (w *Network) Heal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for port, down := range w.links {
		if down {
			errs = append(errs, w.batch(nil, fmt.Sprintf("link set %s up", port)))
		}
	}
	if len(w.links) > 0 {
		errs = append(errs, w.awaitLinks("eth0", w.hosts), w.awaitLinks("out0", w.hosts))
	}
	clear(w.links)
	for h := range w.limits {
		_, err1 := tool("tc", "-n", w.space(nil), "qdisc", "del", "dev", h.port("in"), "root")
		_, err2 := tool("tc", "-n", w.space(h), "qdisc", "del", "dev", "eth0", "root")
		errs = append(errs, err1, err2)
	}
	clear(w.limits)
	for h, l := range w.wires {
		if l.delay != nil {
			errs = append(errs, w.removeDelay(h, l.delay))
		}
		*l = wire{}
	}
	clear(w.drops)
	return errors.Join(append(errs, w.filterAll())...)
}
