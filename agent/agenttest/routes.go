package agenttest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"time"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

// ServeHTTP answers /api/v1.
func (n *Node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := n.cluster
	if c.down(n.Name) {
		panic(http.ErrAbortHandler) // the connection breaks without an answer
	}
	w.Header().Set(api.HeaderCluster, string(c.ID))
	w.Header().Set(api.HeaderNode, n.Name)
	n.stand()
	r.Body = halting{r.Body, n}
	if n.RawOnly {
		r.Header.Del(api.HeaderUploadPacked)
	} else {
		w.Header().Set(api.HeaderUploadTakes, api.UploadTakes)
	}
	if c.Intercept != nil && c.Intercept(n, w, r) {
		return
	}
	n.stand()
	mux := http.NewServeMux()
	routes := c.operatorRoutes()
	maps.Copy(routes, map[string]func(http.ResponseWriter, *http.Request) (any, error){
		"POST /api/v1/packages":                    c.open,
		"GET /api/v1/packages":                     c.list,
		"GET /api/v1/packages/{id}":                c.status,
		"POST /api/v1/packages/{id}/files":         c.addFiles,
		"GET /api/v1/packages/{id}/files":          c.files,
		"POST /api/v1/packages/{id}/lease":         c.lease,
		"POST /api/v1/packages/{id}/commit":        c.commit,
		"PUT /api/v1/packages/{id}/blobs/{digest}": c.upload,
		"POST /api/v1/packages/{id}/delete":        c.move(catalog.StateTrashed),
		"POST /api/v1/packages/{id}/undelete":      c.move(catalog.StateGood),
		"POST /api/v1/packages/{id}/retry":         c.move(catalog.StateCommitted),
		"GET /api/v1/find":                         c.findOne,
		"POST /api/v1/find":                        c.findMany,
	})
	for pattern, h := range routes {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := h(w, r)
			n.answer(w, v, err)
		})
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("HEAD /api/v1/packages/{id}/blobs/{digest}", c.offset)
	mux.ServeHTTP(w, r)
}

// Fail answers with an error, as a node would.
func (n *Node) Fail(w http.ResponseWriter, err error) { n.answer(w, nil, err) }

func (n *Node) answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		e := api.NewError(err, n.Name)
		w.WriteHeader(e.Status)
		v = map[string]any{"error": e}
	}
	json.NewEncoder(w).Encode(v)
}

func (c *Cluster) open(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in api.OpenRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := catalog.PolicyOf(in.Policy); !p.IsZero() || in.Sources {
		if err := c.office.takes(p); err != nil {
			return nil, err
		}
	}
	id, ok := c.byKey[in.IdempotencyKey]
	if !ok {
		id = catalog.PackageID(fmt.Sprintf("%026d", len(c.order)+1))
		c.packages[id] = &pkg{Package: catalog.Package{
			ID: id, Product: in.Product, Version: in.Version, Labels: in.Labels, Comment: in.Comment, State: catalog.StateOpen, OpenedAt: time.Now(),
			Policy: in.Policy,
		}}
		c.byKey[in.IdempotencyKey] = id
		c.order = append(c.order, id)
	}
	return api.OpenResponse{Package: id, State: c.packages[id].State, ClusterID: c.ID, Policy: c.packages[id].Policy, Sources: in.Sources}, nil
}

// lookup returns the package of a request. The caller holds mu.
func (c *Cluster) lookup(r *http.Request) (*pkg, error) {
	id := catalog.PackageID(r.PathValue("id"))
	if p, ok := c.packages[id]; ok {
		return p, nil
	}
	return nil, fmt.Errorf("package %s: %w", id, catalog.ErrNotFound)
}

func (c *Cluster) lookupOpen(r *http.Request) (*pkg, error) {
	p, err := c.lookup(r)
	if err == nil && p.State != catalog.StateOpen {
		return nil, fmt.Errorf("package %s: is %s, wanted open: %w", p.ID, p.State, catalog.ErrConflict)
	}
	return p, err
}

func (c *Cluster) addFiles(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in api.AddFilesRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Files) > api.MaxFilesPerRequest {
		return nil, fmt.Errorf("%d files: %v: %w", len(in.Files), err, catalog.ErrInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.lookupOpen(r)
	if err != nil {
		return nil, err
	}
	if in.First > len(p.files) {
		return nil, fmt.Errorf("first %d, wanted at most %d: %w", in.First, len(p.files), catalog.ErrInvalid)
	}
	p.files = p.files[:in.First]
	out := api.AddFilesResponse{Lacking: []catalog.Digest{}}
	named := map[catalog.Digest]bool{}
	for _, f := range in.Files {
		if err := catalog.CheckPath(f.Path); err != nil {
			return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
		}
		p.files = append(p.files, catalog.File{No: len(p.files), Path: f.Path, Source: f.Source, Size: f.Size, SHA256: f.SHA256})
		if !c.blobs[f.SHA256] && !named[f.SHA256] {
			out.Lacking = append(out.Lacking, f.SHA256)
			named[f.SHA256] = true
		}
	}
	p.Files = len(p.files)
	return out, nil
}

func (c *Cluster) lease(_ http.ResponseWriter, r *http.Request) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.lookupOpen(r)
	if err == nil {
		p.renewed++
	}
	return struct{}{}, err
}

func (c *Cluster) commit(_ http.ResponseWriter, r *http.Request) (any, error) {
	var in api.CommitRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.lookup(r)
	if err != nil {
		return nil, err
	}
	out := api.CommitResponse{State: p.State}
	if p.State != catalog.StateOpen {
		return out, nil // again: the first answer was lost
	}
	if in.Files != len(p.files) {
		return nil, fmt.Errorf("%d files, wanted %d: %w", in.Files, len(p.files), catalog.ErrInvalid)
	}
	for _, f := range p.files {
		if !c.blobs[f.SHA256] {
			out.Lacking = append(out.Lacking, f.SHA256)
		}
	}
	if len(out.Lacking) == 0 {
		p.State = catalog.StateCommitted
		out.State = p.State
		c.validate(p.ID)
	}
	return out, nil
}

func (c *Cluster) status(_ http.ResponseWriter, r *http.Request) (any, error) {
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	timeout := time.After(wait)
	for {
		c.mu.Lock()
		p, err := c.lookup(r)
		changed := c.changed
		var st api.PackageStatus
		if err == nil {
			st.Package = p.Package
			st.Visible = wait > 0 && (p.State == catalog.StateGood || p.State == catalog.StateFailed)
		}
		c.mu.Unlock()
		if err != nil || wait == 0 || (st.State != catalog.StateOpen && st.State != catalog.StateCommitted) {
			return st, err
		}
		select {
		case <-changed:
		case <-timeout:
			return st, nil
		case <-r.Context().Done():
			return st, nil
		case <-c.ctx.Done():
			return st, nil
		}
	}
}

// filesPage keeps pages short, so that tests page.
const filesPage = 3

func (c *Cluster) files(_ http.ResponseWriter, r *http.Request) (any, error) {
	after, err := strconv.Atoi(r.URL.Query().Get("after"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	p, err := c.lookup(r)
	if err != nil {
		return nil, err
	}
	page := api.FilesPage{Files: []catalog.File{}}
	for _, f := range p.files {
		if f.No > after && len(page.Files) < filesPage {
			page.Files = append(page.Files, f)
		}
	}
	if k := len(page.Files); k > 0 && page.Files[k-1].No+1 < len(p.files) {
		page.Next = page.Files[k-1].No
	}
	return page, nil
}

func (c *Cluster) list(_ http.ResponseWriter, r *http.Request) (any, error) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	c.mu.Lock()
	defer c.mu.Unlock()
	page := api.PackagesPage{Packages: []catalog.Package{}}
	for i := len(c.order) - 1; i >= 0; i-- {
		p := c.packages[c.order[i]].Package
		before := q.Get("before") == "" || string(p.ID) < q.Get("before")
		match := func(name, v string) bool { return q.Get(name) == "" || q.Get(name) == v }
		if !before || !match("product", p.Product) || !match("version", p.Version) || !match("state", string(p.State)) {
			continue
		}
		if limit > 0 && len(page.Packages) == limit {
			page.Next = string(page.Packages[limit-1].ID)
			break
		}
		page.Packages = append(page.Packages, p)
	}
	return page, nil
}

func (c *Cluster) move(to catalog.State) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, r *http.Request) (any, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		p, err := c.lookup(r)
		if err == nil {
			p.Previous, p.State = p.State, to
			c.wake()
		}
		return struct{}{}, err
	}
}
