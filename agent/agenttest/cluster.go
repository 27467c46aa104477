// Package agenttest is a cluster for tests of the build side: servers on loopback
// that speak /api/v1 over one state in memory and in a temporary directory. They
// stage uploads, keep leases, and give verdicts by really validating what was
// stored. There is no consensus and nothing is replicated; faults are injected.
package agenttest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// A Cluster is the state that its Nodes share. The fields that are functions may
// be set before the first request.
type Cluster struct {
	ID    catalog.ClusterID
	Nodes []*Node

	// Intercept may answer a request instead of the node: it returns true then.
	Intercept func(n *Node, w http.ResponseWriter, r *http.Request) bool
	// Judge replaces validation when it is set.
	Judge func(p catalog.Package) catalog.State

	dir     string
	ctx     context.Context
	workers sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at every change
	packages map[catalog.PackageID]*pkg
	order    []catalog.PackageID
	byKey    map[string]catalog.PackageID // idempotency keys
	blobs    map[catalog.Digest]bool      // whole and checked
	uploads  int                          // bodies received
	received int64                        // bytes of them
	office   office
}

// A Node is one server of a Cluster.
type Node struct {
	*httptest.Server
	Name string
	// RawOnly has the node take raw bytes only, as older ones do: it knows nothing of
	// packed files. It may be set before the first request.
	RawOnly bool
	cluster *Cluster

	mu      sync.Mutex
	resumed chan struct{} // nil unless stopped; closed when it goes on
}

type pkg struct {
	catalog.Package
	files   []catalog.File
	renewed int
}

// New starts a cluster of n nodes and stops it when the test ends.
func New(t testing.TB, n int) *Cluster {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	dir := t.TempDir()
	c := &Cluster{
		ID:  catalog.ClusterID(fmt.Sprintf("%08x-0000-4000-8000-000000000000", crc32.ChecksumIEEE([]byte(dir)))),
		dir: dir, ctx: ctx, changed: make(chan struct{}),
		packages: map[catalog.PackageID]*pkg{}, byKey: map[string]catalog.PackageID{}, blobs: map[catalog.Digest]bool{},
	}
	for i := range n {
		node := &Node{Name: fmt.Sprintf("n%d", i+1), cluster: c}
		node.Server = httptest.NewServer(node)
		c.Nodes = append(c.Nodes, node)
	}
	c.mu.Lock() // the requests of other processes come from nowhere
	c.office = newOffice(c.Nodes)
	c.mu.Unlock()
	t.Cleanup(func() {
		stop()
		for _, node := range c.Nodes {
			node.CloseClientConnections()
			node.Close()
		}
		c.workers.Wait()
	})
	return c
}

// URLs returns the address of every node.
func (c *Cluster) URLs() []string {
	var urls []string
	for _, n := range c.Nodes {
		urls = append(urls, n.URL)
	}
	return urls
}

// Uploaded returns how many bodies were received, and how many bytes.
func (c *Cluster) Uploaded() (bodies int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uploads, c.received
}

// Packages returns the packages in the order they were opened.
func (c *Cluster) Packages() []catalog.Package {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ps []catalog.Package
	for _, id := range c.order {
		ps = append(ps, c.packages[id].Package)
	}
	return ps
}

// Forget loses a blob, as if it was retired behind the agent's back.
func (c *Cluster) Forget(d catalog.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.blobs, d)
	os.Remove(c.path(d))
}

// Put stores a blob without a package.
func (c *Cluster) Put(content []byte) catalog.Digest {
	d := catalog.Digest(sha256.Sum256(content))
	if err := os.WriteFile(c.path(d), content, 0o600); err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs[d] = true
	return d
}

// SetState forces a package into a state.
func (c *Cluster) SetState(id catalog.PackageID, s catalog.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packages[id].State = s
	c.wake()
}

func (c *Cluster) path(d catalog.Digest) string { return filepath.Join(c.dir, d.String()) }

// wake tells waiters that something changed. The caller holds mu.
func (c *Cluster) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// validate judges a committed package in the background.
func (c *Cluster) validate(id catalog.PackageID) {
	c.workers.Go(func() {
		c.mu.Lock()
		p := c.packages[id].Package
		var files []validate.File
		for _, f := range c.packages[id].files {
			files = append(files, validate.File{
				No: f.No, Path: f.Path, Source: f.Source, Size: f.Size, SHA256: f.SHA256, Explicit: true,
				Open: func() (validate.ReaderAtCloser, error) { return os.Open(c.path(f.SHA256)) },
			})
		}
		policy := catalog.PolicyOf(p.Policy).Under(c.office.policy)
		c.mu.Unlock()
		if c.Judge != nil {
			c.SetState(id, c.Judge(p))
			return
		}
		rep, err := validate.Package(c.ctx, files, validate.Options{Policy: policy})
		if err != nil {
			c.SetState(id, catalog.StateStuck)
			return
		}
		c.record(id, rep, policy)
	})
}

func (c *Cluster) record(id catalog.PackageID, rep validate.Report, policy catalog.Policy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.packages[id]
	p.Findings, p.Judged = rep.Findings, policy.Ref()
	p.Count(rep.Findings)
	for _, fr := range rep.Files {
		f := &p.files[fr.No]
		f.Kind, f.Arch, f.IDs, f.Findings, f.Quality = fr.Kind, fr.Arch, fr.IDs, fr.Findings, fr.Quality
		p.Count(fr.Findings)
		for _, k := range fr.Keys {
			f.Keys = append(f.Keys, k.Key)
		}
	}
	p.State = catalog.StateGood
	if rep.Verdict == catalog.Failed {
		p.State = catalog.StateFailed
	}
	c.wake()
}
