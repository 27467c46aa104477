package symhttp

import (
	"strings"

	"github.com/valyala/fasthttp"
)

// acceptsGzip reports whether an Accept-Encoding header (RFC 9110 section 12.5.3)
// names gzip, with a weight above zero and not below that of identity. A bare *
// does not count: clients exist that send it and decode nothing.
func acceptsGzip(header string) bool {
	gzip, identity := -1, -1 // thousandths; -1 is not named
	for item := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(item, ";")
		switch coding = strings.TrimSpace(coding); {
		case strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip"):
			gzip = max(gzip, weight(params))
		case strings.EqualFold(coding, "identity"):
			identity = weight(params)
		}
	}
	return gzip > 0 && gzip >= identity
}

// weight returns the q parameter in thousandths, 1000 without one, 0 when it is
// malformed.
func weight(params string) int {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			return qvalue(strings.TrimSpace(value))
		}
	}
	return 1000
}

// qvalue reads 0, 1 or either with up to three decimals.
func qvalue(s string) int {
	if len(s) == 0 || len(s) > 5 || (s[0] != '0' && s[0] != '1') || (len(s) > 1 && s[1] != '.') {
		return 0
	}
	v, unit := int(s[0]-'0')*1000, 100
	for i := 2; i < len(s); i, unit = i+1, unit/10 {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		v += int(s[i]-'0') * unit
	}
	if v > 1000 {
		return 0
	}
	return v
}

// matchesETag reports whether an If-None-Match header lists the entity tag, by
// weak comparison, or is a star.
func matchesETag(header, etag string) bool {
	if strings.TrimSpace(header) == "*" {
		return true
	}
	for item := range strings.SplitSeq(header, ",") { // our tags hold no comma
		if strings.TrimPrefix(strings.TrimSpace(item), "W/") == etag {
			return true
		}
	}
	return false
}

// header returns all lines of a request header as one list.
func header(rc *fasthttp.RequestCtx, name string) string {
	lines := rc.Request.Header.PeekAll(name)
	if len(lines) == 1 {
		return string(lines[0])
	}
	parts := make([]string, len(lines))
	for i, l := range lines {
		parts[i] = string(l)
	}
	return strings.Join(parts, ",")
}
