package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

// A PeerKind is the protocol that a peer connection carries.
type PeerKind byte

// Kinds of peer connection.
const (
	PeerRaft PeerKind = 1
	PeerHTTP PeerKind = 2
)

// PreambleSize is the length of what opens every peer connection: "SYMK",
// version 1, kind, ten zero bytes, the 16 bytes of the cluster id. The bare TCP
// connection follows. A joiner sends a zero cluster id.
const PreambleSize = 32

const preambleTimeout = 5 * time.Second

// ErrForeign is wrapped when the other end of a peer connection belongs to
// another cluster, or is not a peer at all.
var ErrForeign = errors.New("not a peer of this cluster")

// DialPeer connects to a member's peer address and writes the preamble.
func DialPeer(ctx context.Context, addr string, kind PeerKind, cluster catalog.ClusterID) (net.Conn, error) {
	pre, err := preamble(kind, cluster)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: preambleTimeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetWriteDeadline(time.Now().Add(preambleTimeout))
	if _, err := conn.Write(pre); err != nil {
		conn.Close()
		return nil, fmt.Errorf("peer %s: preamble: %w", addr, err)
	}
	conn.SetWriteDeadline(time.Time{})
	return conn, nil
}

func preamble(kind PeerKind, cluster catalog.ClusterID) ([]byte, error) {
	b := make([]byte, PreambleSize)
	copy(b, "SYMK")
	b[4], b[5] = 1, byte(kind)
	if cluster != "" {
		id, err := clusterBytes(cluster)
		if err != nil {
			return nil, err
		}
		copy(b[16:], id)
	}
	return b, nil
}

func clusterBytes(cluster catalog.ClusterID) ([]byte, error) {
	id, err := hex.DecodeString(strings.ReplaceAll(string(cluster), "-", ""))
	if err != nil || len(id) != 16 {
		return nil, fmt.Errorf("cluster id %.64q: not a UUID: %w", cluster, catalog.ErrInvalid)
	}
	return id, nil
}

// ReadPreamble reads the preamble of an accepted connection, within five seconds,
// and returns its kind and whether the sender is a joiner without a cluster.
// cluster is ours; a sender of another cluster is refused with ErrForeign.
func ReadPreamble(conn net.Conn, cluster catalog.ClusterID) (kind PeerKind, joiner bool, err error) {
	var b [PreambleSize]byte
	conn.SetReadDeadline(time.Now().Add(preambleTimeout))
	if _, err := io.ReadFull(conn, b[:]); err != nil {
		return 0, false, fmt.Errorf("peer %s: preamble: %w", conn.RemoteAddr(), err)
	}
	conn.SetReadDeadline(time.Time{})
	if string(b[:4]) != "SYMK" || b[4] != 1 || [10]byte(b[6:16]) != [10]byte{} {
		return 0, false, fmt.Errorf("peer %s: opens with %x, wanted SYMK version 1: %w", conn.RemoteAddr(), b[:6], ErrForeign)
	}
	kind = PeerKind(b[5])
	if kind != PeerRaft && kind != PeerHTTP {
		return 0, false, fmt.Errorf("peer %s: connection kind %d: unknown: %w", conn.RemoteAddr(), kind, ErrForeign)
	}
	if [16]byte(b[16:]) == [16]byte{} {
		return kind, true, nil
	}
	if ours, err := clusterBytes(cluster); err != nil || string(ours) != string(b[16:]) {
		return 0, false, fmt.Errorf("peer %s: belongs to cluster %x, we are %q: %w", conn.RemoteAddr(), b[16:], cluster, ErrForeign)
	}
	return kind, false, nil
}
