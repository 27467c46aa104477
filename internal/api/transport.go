package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"symkeep/internal/catalog"
)

// maxAnswer bounds a JSON answer.
const maxAnswer = 64 << 20

// caller sends JSON requests to one base URL. Both clients are built on it.
type caller struct {
	base string // without a trailing slash
	http *http.Client
}

// call sends in as JSON, unless it is nil or already a body, and decodes the
// answer into out, unless that is nil. An answer that is not a success comes back
// as *Error. Failures to reach the server wrap catalog.ErrUnavailable.
func (c *caller) call(ctx context.Context, method, path string, in, out any) (http.Header, error) {
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(v)
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if out == nil {
		if _, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil && ctx.Err() == nil {
			err = fmt.Errorf("%s%s: answer cut: %w", c.base, path, &unreachable{err})
		}
		return resp.Header, err
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%s%s: answer cut or not JSON: %v: %w", c.base, path, err, catalog.ErrUnavailable)
	}
	return resp.Header, nil
}

// do sends req and turns every status but a success into *Error.
func (c *caller) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		if ctxErr := req.Context().Err(); ctxErr != nil {
			return nil, ctxErr
		}
		return nil, fmt.Errorf("%s: %w", c.base, &unreachable{err})
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, readError(resp)
}

// stay is the CheckRedirect of both clients: nodes never redirect, and a POST that
// follows a proxy's redirect becomes a GET.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// readError makes an *Error of an answer, whatever its body is: a proxy in front
// of a node answers with pages of its own.
func readError(resp *http.Response) *Error {
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	e := &Error{}
	var wrapped struct {
		Error *Error `json:"error"`
	}
	if json.Unmarshal(b, &wrapped) == nil && wrapped.Error != nil && wrapped.Error.Code != "" {
		e = wrapped.Error
	} else {
		e.Code = codeOf(resp.StatusCode)
		text := strings.TrimSpace(string(b))
		if len(text) > 200 || strings.HasPrefix(text, "<") {
			text = ""
		}
		e.Message = strings.TrimSpace(fmt.Sprintf("server answered %s %s", resp.Status, text))
	}
	if to := resp.Header.Get("Location"); resp.StatusCode < 400 && to != "" {
		e.Code, e.Message = CodeInvalid, fmt.Sprintf("server answered %s, to %.200s: name the URL it leads to as the server", resp.Status, to)
	}
	e.Status = resp.StatusCode
	return e
}

func codeOf(status int) string {
	for _, c := range codes {
		if c.status == status {
			return c.code
		}
	}
	switch status {
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusTooManyRequests, http.StatusRequestTimeout:
		return CodeUnavailable
	case http.StatusUnauthorized, http.StatusForbidden:
		return CodeRefused
	}
	return CodeInternal
}

// unreachable marks a failure below HTTP: it is both its cause and
// catalog.ErrUnavailable.
type unreachable struct{ cause error }

func (u *unreachable) Error() string   { return u.cause.Error() }
func (u *unreachable) Unwrap() []error { return []error{u.cause, catalog.ErrUnavailable} }
