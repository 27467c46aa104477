package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"symkeep/internal/cab"
	"symkeep/internal/catalog"
)

// UploadTakes is what a node of this build says in HeaderUploadTakes.
const UploadTakes = string(cab.Cab) + ", " + string(cab.GZ)

// A Sending says which bytes stand for a blob of a package on their way to a server.
type Sending struct {
	Package catalog.PackageID
	Digest  catalog.Digest // of the raw bytes
	Packed  catalog.Digest // packed SHA-256 of the packed file that is sent; zero when the raw bytes are
	Size    int64          // bytes to send in all
}

// An UploadState is what a server says of a Sending.
type UploadState struct {
	Offset   int64 // bytes of it that are acknowledged
	Complete bool  // the server holds the whole blob, whoever sent it and how
	Packs    bool  // packed files are taken too
}

// UploadState asks a server how much of a blob it has. The size of s does not matter.
func (c *Client) UploadState(ctx context.Context, s Sending) (UploadState, error) {
	var st UploadState
	req, err := http.NewRequestWithContext(ctx, "HEAD", c.base+s.path(), nil)
	if err != nil {
		return st, err
	}
	s.stamp(req)
	resp, err := c.do(req)
	if err != nil {
		return st, err
	}
	resp.Body.Close()
	h := resp.Header
	if st.Offset, err = strconv.ParseInt(h.Get(HeaderUploadOffset), 10, 64); err != nil {
		return st, fmt.Errorf("%s: header %s: %q is not a number: %w", c.base, HeaderUploadOffset, h.Get(HeaderUploadOffset), catalog.ErrUnavailable)
	}
	length, err := strconv.ParseInt(h.Get(HeaderUploadLength), 10, 64)
	st.Complete = err == nil && length == st.Offset
	st.Packs = takes(h.Get(HeaderUploadTakes))
	return st, nil
}

// takes reports whether a server that lists these containers takes what this build
// packs.
func takes(list string) bool {
	names := strings.Split(strings.ReplaceAll(list, " ", ""), ",")
	return slices.Contains(names, string(cab.Cab)) && slices.Contains(names, string(cab.GZ))
}

// expectFrom is the size from which a server is asked for its consent first: below it,
// bytes sent in vain cost no more than asking.
const expectFrom = 64 << 10

// Send sends the bytes of s from offset on; body holds s.Size-offset bytes. It returns
// once W members hold the blob. An *Error with status 409 means that the offset is not
// the acknowledged one: ask UploadState, then go on. catalog.ErrInvalid about a packed
// file may be an older server's: send the raw bytes.
func (c *Client) Send(ctx context.Context, s Sending, offset int64, body io.Reader) (catalog.Receipt, error) {
	var out catalog.Receipt
	req, err := http.NewRequestWithContext(ctx, "PUT", c.base+s.path(), body)
	if err != nil {
		return out, err
	}
	req.ContentLength = s.Size - offset
	if req.ContentLength == 0 {
		req.Body = http.NoBody
	}
	s.stamp(req)
	req.Header.Set("Content-Type", "application/octet-stream")
	if req.ContentLength >= expectFrom {
		req.Header.Set("Expect", "100-continue")
	}
	req.Header.Set(HeaderUploadOffset, strconv.FormatInt(offset, 10))
	req.Header.Set(HeaderUploadLength, strconv.FormatInt(s.Size, 10))
	resp, err := c.do(req)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close()
	return out, decodeAnswer(c.base, resp.Body, &out)
}

// UploadOffset returns how many raw bytes of a blob this server has acknowledged,
// and whether it holds the whole blob.
func (c *Client) UploadOffset(ctx context.Context, id catalog.PackageID, d catalog.Digest) (offset int64, complete bool, err error) {
	st, err := c.UploadState(ctx, Sending{Package: id, Digest: d})
	return st.Offset, st.Complete, err
}

// Upload sends the raw bytes of a blob from offset on, as Send does.
func (c *Client) Upload(ctx context.Context, id catalog.PackageID, d catalog.Digest, offset, size int64, body io.Reader) (catalog.Receipt, error) {
	return c.Send(ctx, Sending{Package: id, Digest: d, Size: size}, offset, body)
}

func (s Sending) path() string { return packagePath(s.Package, "/blobs/"+s.Digest.String()) }

func (s Sending) stamp(req *http.Request) {
	if s.Packed != (catalog.Digest{}) {
		req.Header.Set(HeaderUploadPacked, s.Packed.String())
	}
}
