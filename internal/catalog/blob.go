package catalog

// A Container is the stored form of a blob, see internal/cab.
type Container string

// Containers.
const (
	ContainerCab  Container = "cab"
	ContainerGzip Container = "gz"
)

// Packed describes the packed bytes of a blob; they are unique per blob and
// generation, whoever packed first.
type Packed struct {
	SHA256    Digest    `json:"packed_sha256"`
	Size      int64     `json:"packed_size"`
	Container Container `json:"container"`
}

// A Blob is the cluster's knowledge of one digest.
type Blob struct {
	Digest  Digest      `json:"digest"`
	Gen     uint64      `json:"gen"` // grows with each upload after a retirement
	RawSize int64       `json:"raw_size"`
	Packed  Packed      `json:"packed"`
	Refs    int         `json:"refs"`    // file rows that list it, from the listing until their package is swept; an open package counts
	Holders []NodeID    `json:"holders"` // members with a verified copy, sorted
	Retired bool        `json:"retired,omitempty"`
	IdleAt  ClusterTime `json:"idle_at,omitempty"` // when the last reference went
}

// A Receipt says that members hold verified, durable copies of a blob.
type Receipt struct {
	Digest  Digest   `json:"digest"`
	RawSize int64    `json:"raw_size"`
	Packed  Packed   `json:"packed"`
	Holders []NodeID `json:"holders"`
}
