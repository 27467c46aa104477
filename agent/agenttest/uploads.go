package agenttest

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"symkeep/internal/api"
	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// staged returns the file that collects a blob, in the form that the request is about,
// and how long it is.
func (c *Cluster) staged(r *http.Request, d catalog.Digest) (string, int64) {
	path := c.path(d) + r.Header.Get(api.HeaderUploadPacked) + ".part"
	fi, err := os.Stat(path)
	if err != nil {
		return path, 0
	}
	return path, fi.Size()
}

func (c *Cluster) offset(w http.ResponseWriter, r *http.Request) {
	d, err := catalog.ParseDigest(r.PathValue("digest"))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	whole := c.blobs[d]
	c.mu.Unlock()
	_, size := c.staged(r, d)
	if whole {
		fi, _ := os.Stat(c.path(d))
		size = fi.Size()
		w.Header().Set(api.HeaderUploadLength, strconv.FormatInt(size, 10))
	}
	w.Header().Set(api.HeaderUploadOffset, strconv.FormatInt(size, 10))
}

func (c *Cluster) upload(_ http.ResponseWriter, r *http.Request) (any, error) {
	d, err := catalog.ParseDigest(r.PathValue("digest"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, catalog.ErrInvalid)
	}
	c.mu.Lock()
	p, err := c.lookupOpen(r)
	whole := c.blobs[d]
	c.mu.Unlock()
	if err != nil || whole {
		return catalog.Receipt{Digest: d}, err
	}
	length := r.Header.Get(api.HeaderUploadLength)
	if want := c.listed(p, d); r.Header.Get(api.HeaderUploadPacked) == "" && length != want {
		return nil, fmt.Errorf("blob %s: upload of %s bytes, the package lists %s: %w", d, length, want, catalog.ErrInvalid)
	}
	path, have := c.staged(r, d)
	if at := r.Header.Get(api.HeaderUploadOffset); at != strconv.FormatInt(have, 10) {
		return nil, fmt.Errorf("blob %s: upload starts at %s, wanted %d: %w", d, at, have, catalog.ErrConflict)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := io.Copy(f, r.Body)
	c.mu.Lock()
	c.uploads++
	c.received += n
	c.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("blob %s: body cut after %d bytes: %v: %w", d, n, err, catalog.ErrUnavailable)
	}
	if _, have = c.staged(r, d); strconv.FormatInt(have, 10) != length {
		return nil, fmt.Errorf("blob %s: %d bytes, wanted %s: %w", d, have, length, catalog.ErrInvalid)
	}
	if r.Header.Get(api.HeaderUploadPacked) != "" {
		if path, err = unpack(r.Context(), f, have); err != nil {
			os.Remove(f.Name())
			return nil, err
		}
	}
	return c.accept(d, path)
}

// listed returns the size that a package lists for a blob, as a header has it.
func (c *Cluster) listed(p *pkg, d catalog.Digest) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range p.files {
		if f.SHA256 == d {
			return strconv.FormatInt(f.Size, 10)
		}
	}
	return ""
}

// unpack verifies a packed file and writes its raw bytes to another.
func unpack(ctx context.Context, f *os.File, size int64) (path string, err error) {
	info, err := cab.VerifyRaw(ctx, f, size)
	if err != nil {
		return "", fmt.Errorf("%v: %w", err, catalog.ErrInvalid)
	}
	r, err := cab.Open(f, size)
	if err != nil {
		return "", err
	}
	path = f.Name() + ".raw"
	raw, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer raw.Close()
	_, err = io.Copy(raw, io.NewSectionReader(r, 0, info.RawSize))
	return path, err
}

func (c *Cluster) accept(d catalog.Digest, path string) (any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if got := catalog.Digest(sha256.Sum256(b)); got != d {
		os.Remove(path)
		return nil, fmt.Errorf("blob %s: bytes hash to %s: %w", d, got, catalog.ErrInvalid)
	}
	if err := os.Rename(path, c.path(d)); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobs[d] = true
	return catalog.Receipt{Digest: d, RawSize: int64(len(b)), Holders: []catalog.NodeID{"n1"}}, nil
}
