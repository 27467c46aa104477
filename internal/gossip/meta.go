package gossip

import (
	"encoding/hex"
	"errors"
	"fmt"
	"unicode/utf8"

	"symkeep/internal/catalog"
)

// Bounds of the encoded form. memberlist panics on meta over 512 bytes.
const (
	maxMeta   = 512
	metaV1    = 1
	maxString = 120 // bytes of name, address, zone or version; their sum is bounded by maxMeta
)

// ErrBadMeta is wrapped by errors about meta that cannot be encoded or decoded.
var ErrBadMeta = errors.New("bad gossip meta")

// Flags are facts about a node that change at run time.
type Flags uint16

// Flags of a node. Unknown bits are kept and ignored.
const (
	Draining   Flags = 1 << 0 // takes no new placements
	Restarting Flags = 1 << 1 // stopped on purpose and comes back
	Leaving    Flags = 1 << 2 // goes for good; set by Leave
)

// Meta is what a node says of itself to everyone. Version 1 of its encoded form
// is: format byte 1; cluster id, 16 bytes, zero for none; node id, 16 bytes;
// flags, u16 big-endian; then name, peer address, HTTP address, zone and version,
// each a length byte and that many bytes of UTF-8. Bytes that follow are fields of
// a later build and are ignored.
type Meta struct {
	ClusterID catalog.ClusterID // empty: the node has joined no cluster yet
	NodeID    catalog.NodeID
	Name      string
	PeerAddr  string
	HTTPAddr  string
	Zone      string
	Version   string
	Flags     Flags
}

func (m *Meta) texts() []*string {
	return []*string{&m.Name, &m.PeerAddr, &m.HTTPAddr, &m.Zone, &m.Version}
}

// Encode returns the encoded form, at most 512 bytes. Errors wrap ErrBadMeta.
func (m Meta) Encode() ([]byte, error) {
	b := []byte{metaV1}
	id, err := parseUUID(string(m.ClusterID))
	if m.ClusterID != "" && err != nil {
		return nil, fmt.Errorf("cluster id: %w", err)
	}
	b = append(b, id[:]...)
	if id, err = parseUUID(string(m.NodeID)); err != nil {
		return nil, fmt.Errorf("node id: %w", err)
	}
	b = append(b, id[:]...)
	b = append(b, byte(m.Flags>>8), byte(m.Flags))
	for _, s := range m.texts() {
		if len(*s) > maxString || !utf8.ValidString(*s) {
			return nil, fmt.Errorf("%.40q: %d bytes, wanted at most %d of UTF-8: %w", *s, len(*s), maxString, ErrBadMeta)
		}
		b = append(append(b, byte(len(*s))), *s...)
	}
	if len(b) > maxMeta {
		return nil, fmt.Errorf("name, addresses, zone and version: %d bytes encoded, wanted at most %d: %w", len(b), maxMeta, ErrBadMeta)
	}
	return b, nil
}

// DecodeMeta reads the encoded form. Errors wrap ErrBadMeta.
func DecodeMeta(b []byte) (Meta, error) {
	var m Meta
	switch {
	case len(b) > maxMeta:
		return m, fmt.Errorf("%d bytes, wanted at most %d: %w", len(b), maxMeta, ErrBadMeta)
	case len(b) < 35:
		return m, fmt.Errorf("%d bytes, wanted at least 35: %w", len(b), ErrBadMeta)
	case b[0] != metaV1:
		return m, fmt.Errorf("format %d, wanted %d: %w", b[0], metaV1, ErrBadMeta)
	}
	if id := [16]byte(b[1:17]); id != ([16]byte{}) {
		m.ClusterID = catalog.ClusterID(formatUUID(id))
	}
	m.NodeID = catalog.NodeID(formatUUID([16]byte(b[17:33])))
	m.Flags = Flags(b[33])<<8 | Flags(b[34])
	b = b[35:]
	for _, s := range m.texts() {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return Meta{}, fmt.Errorf("cut short: %w", ErrBadMeta)
		}
		end := 1 + int(b[0])
		*s, b = string(b[1:end]), b[end:]
		if len(*s) > maxString || !utf8.ValidString(*s) {
			return Meta{}, fmt.Errorf("%.40q: %d bytes, wanted at most %d of UTF-8: %w", *s, len(*s), maxString, ErrBadMeta)
		}
	}
	return m, nil
}

// parseUUID reads the 36-character lower-case form.
func parseUUID(s string) (id [16]byte, err error) {
	if len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' {
		_, err = hex.Decode(id[:], []byte(s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]))
		if err == nil && formatUUID(id) == s {
			return id, nil
		}
	}
	return [16]byte{}, fmt.Errorf("%.40q: not a lower-case UUID: %w", s, ErrBadMeta)
}

func formatUUID(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
