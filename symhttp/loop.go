package symhttp

import (
	"bytes"
	"io"
	"net/http"

	"github.com/valyala/fasthttp"
)

// loopAfter is how many requests in a row have to be answered from memory before their
// connection goes to a loop. Going there and back costs about as much as one of them.
const loopAfter = 4

// An unfinished is what a connection leaves a loop with.
type unfinished struct {
	in   []byte   // read and not answered
	out  []byte   // of an answer, not written
	part filePart // of the same answer, after that
}

// left returns how many bytes of an answer are to be written.
func (u *unfinished) left() int64 { return int64(len(u.out)) + u.part.n }

// finish writes what is left of an answer. What cannot be written whole ends in a RST.
func (c *patientConn) finish() error {
	err := c.writeLeft()
	c.out = nil
	c.part.give()
	if err != nil {
		abort(c.Conn)
	}
	return err
}

func (c *patientConn) writeLeft() error {
	if len(c.out) > 0 {
		if _, err := c.Conn.Write(c.out); err != nil {
			return err
		}
	}
	if c.part.file == nil {
		return nil
	}
	if _, err := c.part.file.Seek(c.part.off, io.SeekStart); err != nil {
		return err
	}
	n, err := c.ReadFrom(io.LimitReader(c.part.file, c.part.n))
	if err == nil && n < c.part.n {
		err = errShortBody
	}
	return err
}

// simple reports whether a loop may answer a request: one without a body, for the whole
// of something, on a connection that stays.
func simple(h *fasthttp.RequestHeader) bool {
	if !h.IsGet() || !h.IsHTTP11() || h.ConnectionClose() {
		return false
	}
	if uri := h.RequestURI(); len(uri) == 0 || uri[0] != '/' {
		return false
	}
	for _, name := range notSimple {
		if len(h.PeekAll(name)) > 0 {
			return false
		}
	}
	return true
}

// notSimple are the headers that need more than a loop does.
var notSimple = []string{"Content-Length", "Transfer-Encoding", "Expect", "Range", "If-None-Match", "X-DEBUGINFOD-MAXSIZE"}

const (
	repliesMost = 4096 // of one loop; then all are forgotten
	replyHead   = 1024 // bytes of the longest request that one is remembered for
)

// A reply is the head of an answer and what it was made of. A request that is the same to
// the byte gets it again while that has not changed. Whatever a loop looks at for that is
// in it, since a processor waits for each other place in memory.
type reply struct {
	version uint64 // of the catalog
	missing bool
	id      answerID // on the shelf, unless missing
	etag    string   // of what was there
	size    int64
	head    []byte
	date    int // where in head it is
	count   lookupSeries
}

// noDate stands where a loop puts the date in.
const noDate = "Thu, 01 Jan 1970 00:00:00 GMT"

// reply makes the reply to a simple request. It is nil if somebody has to be waited for, or
// a large file to be sent.
func (d *debuggers) reply(rc *fasthttp.RequestCtx) *reply {
	s := d.known(rc)
	if s == nil {
		s = d.resolve(rc)
	}
	if s == nil {
		return nil
	}
	r, result := &reply{version: s.version, missing: s.missing}, "miss"
	if s.missing {
		miss(rc)
	} else {
		r.id = wanted(rc, s.lookup, s.candidate)
		a := d.store.shelf.get(r.id)
		if a == nil || !a.forLoop() {
			return nil
		}
		r.etag, r.size, result = a.etag, a.size, statusOf(http.StatusOK)
		d.head(rc, s.lookup, a.representation(s.candidate), span{0, a.size}, http.StatusOK)
	}
	h := &rc.Response.Header
	h.SetServer(d.http.Name)
	h.SetContentLength(int(r.size))
	r.head = h.AppendBytes(nil)
	r.date = bytes.Index(r.head, []byte("\r\nDate: ")) + len("\r\nDate: ")
	copy(r.head[r.date:], noDate)
	r.count = d.metrics.of(s.route, result)
	return r
}

// nothing is what a miss is answered with.
var nothing = &answer{}

// current returns the answer whose head a reply is, nil if that is not right any more.
func (d *debuggers) current(r *reply) *answer {
	if !d.holds(r.version, r.missing) {
		return nil
	}
	if r.missing {
		return nothing
	}
	a := d.store.shelf.get(r.id)
	if a == nil || a.size != r.size || a.etag != r.etag {
		return nil // the same file can be packed in another way
	}
	return a
}
