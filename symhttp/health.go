package symhttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// probeTimeout bounds a health check: a node that cannot say is not well.
const probeTimeout = 5 * time.Second

var errDraining = errors.New("the server is stopping")

// probes answers /livez and /readyz.
type probes struct {
	*Server
	health Health
}

func (p *probes) livez(rc *fasthttp.RequestCtx) {
	ctx, cancel := context.WithTimeout(p.base, probeTimeout)
	defer cancel()
	report(rc, p.health.Live(ctx))
}

func (p *probes) readyz(rc *fasthttp.RequestCtx) {
	purpose := Purpose(rc.QueryArgs().Peek("for"))
	switch purpose {
	case "":
		purpose = ForServe
	case ForServe, ForIngest:
	default:
		text(rc, http.StatusBadRequest, fmt.Sprintf("for %q: wanted %s or %s\n", clip(string(purpose)), ForServe, ForIngest))
		return
	}
	p.probed.Store(time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(p.base, probeTimeout)
	defer cancel()
	checks := p.health.Ready(ctx, purpose)
	if p.waits.Err() != nil {
		checks = append(checks, Check{"drain", errDraining})
	}
	report(rc, checks)
}

// report writes one line per check and a last one: 200 when all passed, else 503.
func report(rc *fasthttp.RequestCtx, checks []Check) {
	var b strings.Builder
	status := http.StatusOK
	for _, c := range checks {
		if c.Err == nil {
			fmt.Fprintf(&b, "[+] %s ok\n", c.Name)
			continue
		}
		status = http.StatusServiceUnavailable
		fmt.Fprintf(&b, "[-] %s: %s\n", c.Name, strings.ReplaceAll(c.Err.Error(), "\n", "; "))
	}
	if status == http.StatusOK {
		b.WriteString("ok\n")
	} else {
		b.WriteString("not ok\n")
		rc.Response.Header.Set("Retry-After", "1")
	}
	text(rc, status, b.String())
}
