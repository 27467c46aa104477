package rig

import "time"

// A Network is what can be wrong between hosts. Every method returns once the fault
// is in force; faults add up until Heal. The link to the harness is not touched,
// except by CutOutside.
type Network struct{}

// Cut pulls the cable of hosts: nothing gets in or out.
func (w *Network) Cut(hosts ...*Host) error { return errNotYet }

// Plug puts the cable back.
func (w *Network) Plug(hosts ...*Host) error { return errNotYet }

// CutOutside keeps the harness from reaching hosts, and them from it.
func (w *Network) CutOutside(hosts ...*Host) error { return errNotYet }

// CutPair makes a and b lose what they send each other; both still see the others.
func (w *Network) CutPair(a, b *Host) error { return errNotYet }

// CutOneWay makes from's packets to to get lost, but not those of the other way.
func (w *Network) CutOneWay(from, to *Host) error { return errNotYet }

// Partition cuts every pair of hosts that are in different groups. Hosts in no
// group see everyone: Partition([b], [c]) leaves a as the bridge between them.
func (w *Network) Partition(groups ...[]*Host) error { return errNotYet }

// DropUDP makes hosts receive no UDP.
func (w *Network) DropUDP(hosts ...*Host) error { return errNotYet }

// Lose makes hosts lose this share, 0 to 1, of the packets that they are sent.
func (w *Network) Lose(share float64, hosts ...*Host) error { return errNotYet }

// Limit lets hosts send and receive so many bytes per second.
func (w *Network) Limit(bytesPerSecond int64, hosts ...*Host) error { return errNotYet }

// Delay makes every packet to and from hosts, of TCP and UDP alike, take so much
// longer each way. Connections live on.
func (w *Network) Delay(each time.Duration, hosts ...*Host) error { return errNotYet }

// Heal ends every fault of the network.
func (w *Network) Heal() error { return errNotYet }
