package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"symkeep/internal/catalog"
)

// BlobsRequest is POST /api/v1/blobs: what the cluster knows of blobs.
type BlobsRequest struct {
	Digests []catalog.Digest `json:"digests"` // at most MaxHave
}

// BlobsResponse has one entry per digest asked, in the same order.
type BlobsResponse struct {
	Blobs []BlobState `json:"blobs"`
}

// A BlobState is what the cluster knows of one blob; without one it is zero.
type BlobState struct {
	Packed  catalog.Packed   `json:"packed,omitzero"`
	Holders []catalog.NodeID `json:"holders,omitempty"`
}

// Backup streams a backup file of the catalog, size bytes. The caller closes the
// body, and verifies it: a connection may end early.
func (c *Client) Backup(ctx context.Context) (body io.ReadCloser, size int64, err error) {
	return c.stream(ctx, "/api/v1/backup")
}

// Blob streams the packed bytes of a referenced blob, size bytes. The caller closes
// the body, and compares the bytes with their hash.
func (c *Client) Blob(ctx context.Context, d catalog.Digest) (body io.ReadCloser, size int64, err error) {
	return c.stream(ctx, "/api/v1/blobs/"+d.String())
}

func (c *Client) stream(ctx context.Context, path string) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", c.base+path, nil)
	if err != nil {
		return nil, 0, err
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, 0, err
	}
	if resp.ContentLength < 0 {
		resp.Body.Close()
		return nil, 0, fmt.Errorf("%s%s: answer without a length, wanted one: is a proxy in between?: %w", c.base, path, catalog.ErrUnavailable)
	}
	return resp.Body, resp.ContentLength, nil
}

// BlobStates asks what the cluster knows of blobs, at most MaxHave.
func (c *Client) BlobStates(ctx context.Context, digests []catalog.Digest) ([]BlobState, error) {
	var out BlobsResponse
	if _, err := c.call(ctx, "POST", "/api/v1/blobs", BlobsRequest{digests}, &out); err != nil {
		return nil, err
	}
	if len(out.Blobs) != len(digests) {
		return nil, fmt.Errorf("%s: %d answers to %d digests: %w", c.base, len(out.Blobs), len(digests), catalog.ErrUnavailable)
	}
	return out.Blobs, nil
}

// RestoreResult is what a restore from a backup came to.
type RestoreResult struct {
	DataDir   string              `json:"data_dir"`
	ClusterID catalog.ClusterID   `json:"cluster_id"` // new
	Node      catalog.NodeID      `json:"node"`       // new
	From      catalog.ClusterID   `json:"from"`       // cluster of the backup
	Index     uint64              `json:"index"`
	Created   time.Time           `json:"created"` // of the backup
	Packages  int                 `json:"packages"`
	Servable  int                 `json:"servable"` // of them, every blob is here
	Lacking   []catalog.PackageID `json:"lacking,omitempty"`
	Expired   int                 `json:"expired"`  // uploads that the backup caught on the way
	Requeued  int                 `json:"requeued"` // packages to be validated again
	Notices   int                 `json:"notices"`  // mails dropped, that may have been sent since
	Blobs     BlobsRestored       `json:"blobs"`
}

// BlobsRestored counts the blobs of a backup.
type BlobsRestored struct {
	Wanted  int64            `json:"wanted"`
	Bytes   int64            `json:"bytes"` // packed, of those restored
	Linked  int64            `json:"linked"`
	Copied  int64            `json:"copied"`
	There   int64            `json:"there"` // from an earlier, interrupted run
	Damaged int64            `json:"damaged"`
	Missing int64            `json:"missing"`
	Lost    []catalog.Digest `json:"lost,omitempty"` // the first 1000 that are missing or damaged
}

// RecoverPlan is what `cluster recover` found in a data directory, and with Done
// what it did.
type RecoverPlan struct {
	DataDir   string            `json:"data_dir"`
	ClusterID catalog.ClusterID `json:"cluster_id"`
	Node      catalog.NodeID    `json:"node"`
	Name      string            `json:"name,omitempty"`
	Applied   uint64            `json:"applied_index"` // of the catalog
	LastIndex uint64            `json:"last_index"`    // of the log
	LastTerm  uint64            `json:"last_term"`
	Snapshot  uint64            `json:"snapshot_index"`
	Pending   uint64            `json:"pending"` // entries behind the applied index: they will count as committed
	Voters    []RecoverServer   `json:"voters"`  // as the log has them now
	GoesOn    uint64            `json:"goes_on,omitempty"`
	Done      bool              `json:"done"`
}

// A RecoverServer is one server of the configuration that is replaced.
type RecoverServer struct {
	ID    catalog.NodeID `json:"id"`
	Name  string         `json:"name,omitempty"` // of the member table
	Addr  string         `json:"addr"`
	Voter bool           `json:"voter"`
	Self  bool           `json:"self"`
}

// FsckReport is what `fsck` found in a data directory.
type FsckReport struct {
	DataDir   string            `json:"data_dir"`
	OK        bool              `json:"ok"` // no problem is left
	Node      catalog.NodeID    `json:"node,omitempty"`
	ClusterID catalog.ClusterID `json:"cluster_id,omitempty"`
	Applied   uint64            `json:"applied_index"`
	Snapshot  uint64            `json:"snapshot_index"`
	LastIndex uint64            `json:"last_index"`
	Blobs     int64             `json:"blobs"` // files that were read
	Bytes     int64             `json:"bytes"`
	Damaged   int               `json:"damaged"`
	Missing   int               `json:"missing"` // the catalog lists them here
	Orphans   int               `json:"orphans"` // the catalog knows nothing of them
	Unindexed int               `json:"unindexed"`
	Problems  []FsckProblem     `json:"problems"`       // the first 1000
	More      int               `json:"more,omitempty"` // problems beyond those
}

// An FsckProblem is one thing that is not as it should be.
type FsckProblem struct {
	Check    string         `json:"check"` // identity, catalog, log, blob, index
	Blob     catalog.Digest `json:"blob,omitzero"`
	Found    string         `json:"found"`
	Do       string         `json:"do"`
	Repaired bool           `json:"repaired,omitempty"`
}
