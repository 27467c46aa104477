package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"symkeep/internal/catalog"
)

// A Client speaks /api/v1 to one server. It keeps connections open between calls.
// Every method blocks until the answer, an error or the end of ctx. Errors are
// *Error when the server answered, and wrap the catalog's sentinels.
type Client struct {
	caller
	fresh *http.Client // no connection is used twice
}

// NewClient returns a client of the server at base, such as
// http://symbols:8480. Proxies of the environment are honoured.
func NewClient(base string) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("server %q: wanted a URL such as http://symbols:8480: %w", base, catalog.ErrInvalid)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 4 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	t.MaxIdleConnsPerHost = 64 // as many as an agent sends files at once
	t.DisableCompression = true
	t.ExpectContinueTimeout = 2 * time.Second
	once := t.Clone()
	once.DisableKeepAlives = true
	return &Client{
		caller{strings.TrimRight(base, "/"), &http.Client{Transport: t, CheckRedirect: stay}},
		&http.Client{Transport: once, CheckRedirect: stay},
	}, nil
}

// Base returns the URL the client was made with.
func (c *Client) Base() string { return c.base }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Live asks the server whether it lives, over a connection of its own. Any answer
// will do, be it that the server is not well or that of a proxy before it.
func (c *Client) Live(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, "GET", c.base+"/livez", nil)
	if err != nil {
		return err
	}
	resp, err := c.fresh.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", c.base, &unreachable{err})
	}
	return resp.Body.Close()
}

// Open opens a package, or finds the one its idempotency key opened.
func (c *Client) Open(ctx context.Context, r OpenRequest) (OpenResponse, error) {
	var out OpenResponse
	_, err := c.call(ctx, "POST", "/api/v1/packages", r, &out)
	return out, err
}

// AddFiles announces files and returns which blobs the cluster lacks.
func (c *Client) AddFiles(ctx context.Context, id catalog.PackageID, r AddFilesRequest) (AddFilesResponse, error) {
	var out AddFilesResponse
	_, err := c.call(ctx, "POST", packagePath(id, "/files"), r, &out)
	return out, err
}

// Commit makes the package ready for validation.
func (c *Client) Commit(ctx context.Context, id catalog.PackageID, r CommitRequest) (CommitResponse, error) {
	var out CommitResponse
	_, err := c.call(ctx, "POST", packagePath(id, "/commit"), r, &out)
	return out, err
}

// RenewLease keeps an open package from expiring.
func (c *Client) RenewLease(ctx context.Context, id catalog.PackageID) error {
	_, err := c.call(ctx, "POST", packagePath(id, "/lease"), nil, nil)
	return err
}

// Package returns the state of a package. With a wait it is held on the server
// until there is a verdict or the wait is over.
func (c *Client) Package(ctx context.Context, id catalog.PackageID, wait time.Duration) (PackageStatus, error) {
	var out PackageStatus
	path := packagePath(id, "")
	if wait > 0 {
		path += "?wait=" + wait.String()
	}
	_, err := c.call(ctx, "GET", path, nil, &out)
	return out, err
}

// Files returns one page of a package's files after the given number; -1 starts.
func (c *Client) Files(ctx context.Context, id catalog.PackageID, after int) (FilesPage, error) {
	var out FilesPage
	_, err := c.call(ctx, "GET", packagePath(id, "/files?after="+strconv.Itoa(after)), nil, &out)
	return out, err
}

// Packages lists packages, newest first.
func (c *Client) Packages(ctx context.Context, q PackagesQuery) (PackagesPage, error) {
	v := url.Values{}
	for name, s := range map[string]string{"product": q.Product, "version": q.Version, "state": string(q.State), "before": string(q.Before)} {
		if s != "" {
			v.Set(name, s)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	var out PackagesPage
	_, err := c.call(ctx, "GET", "/api/v1/packages?"+v.Encode(), nil, &out)
	return out, err
}

// Delete hides a package; its keys stop being served on every node.
func (c *Client) Delete(ctx context.Context, id catalog.PackageID, r DeleteRequest) error {
	_, err := c.call(ctx, "POST", packagePath(id, "/delete"), r, nil)
	return err
}

// Undelete brings a deleted package back while its blobs are kept.
func (c *Client) Undelete(ctx context.Context, id catalog.PackageID) error {
	_, err := c.call(ctx, "POST", packagePath(id, "/undelete"), nil, nil)
	return err
}

// Retry sends a stuck or failed package to validation again.
func (c *Client) Retry(ctx context.Context, id catalog.PackageID) error {
	_, err := c.call(ctx, "POST", packagePath(id, "/retry"), nil, nil)
	return err
}

// FindAll answers up to MaxFindQueries queries in one request.
func (c *Client) FindAll(ctx context.Context, queries []FindQuery) ([]FindResponse, error) {
	var out FindAnswers
	_, err := c.call(ctx, "POST", "/api/v1/find", FindRequest{queries}, &out)
	if err == nil && len(out.Answers) != len(queries) {
		err = fmt.Errorf("%s: %d answers to %d queries: %w", c.base, len(out.Answers), len(queries), catalog.ErrUnavailable)
	}
	return out.Answers, err
}

// Find tells who has a key, or why nobody does. The query is one that
// symid.ParseQuery reads.
func (c *Client) Find(ctx context.Context, query FindQuery) (FindResponse, error) {
	var out FindResponse
	v := url.Values{"q": {query.Q}}
	if query.Name != "" {
		v.Set("name", query.Name)
	}
	_, err := c.call(ctx, "GET", "/api/v1/find?"+v.Encode(), nil, &out)
	return out, err
}

// Cluster returns the state of the cluster as this server sees it.
func (c *Client) Cluster(ctx context.Context) (ClusterStatus, error) {
	var out ClusterStatus
	_, err := c.call(ctx, "GET", "/api/v1/cluster", nil, &out)
	return out, err
}

// ClusterJoin tells a running fresh node to join the cluster at gossip addresses.
func (c *Client) ClusterJoin(ctx context.Context, r ClusterJoinRequest) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/join", r, nil)
	return err
}

// ClusterLeave makes this server's node leave the cluster for good.
func (c *Client) ClusterLeave(ctx context.Context) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/leave", nil, nil)
	return err
}

// ClusterRemove removes a member that will not come back.
func (c *Client) ClusterRemove(ctx context.Context, r NodeRequest) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/remove", r, nil)
	return err
}

// ClusterDrain moves a member's copies elsewhere, or takes it back.
func (c *Client) ClusterDrain(ctx context.Context, r NodeRequest) error {
	_, err := c.call(ctx, "POST", "/api/v1/cluster/drain", r, nil)
	return err
}

func packagePath(id catalog.PackageID, rest string) string {
	return "/api/v1/packages/" + url.PathEscape(string(id)) + rest
}
