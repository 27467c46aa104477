package symhttp

import (
	"net/http"

	"github.com/valyala/fasthttp"

	"symkeep/internal/api"
	"symkeep/internal/symid"
)

// maxQuery bounds the text of one query, in bytes.
const maxQuery = 4096

func (a *agents) find(rc *fasthttp.RequestCtx, _ []string) {
	q := api.FindQuery{Q: string(rc.QueryArgs().Peek("q")), Name: string(rc.QueryArgs().Peek("name"))}
	if err := checkQuery(q); err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	answers, err := a.Packages.FindKeys(ctx, []api.FindQuery{q})
	if err != nil {
		a.fail(rc, err)
		return
	}
	a.result(rc, answers[0], nil)
}

// findAll answers many queries at once. It is a POST because a URL has no room for
// them.
func (a *agents) findAll(rc *fasthttp.RequestCtx, _ []string) {
	var r api.FindRequest
	err := a.read(rc, &r)
	if n := len(r.Queries); err == nil && (n == 0 || n > api.MaxFindQueries) {
		err = refuse(http.StatusBadRequest, "%d queries in one request, wanted 1 to %d", n, api.MaxFindQueries)
	}
	for i := 0; err == nil && i < len(r.Queries); i++ {
		err = checkQuery(r.Queries[i])
	}
	if err != nil {
		a.fail(rc, err)
		return
	}
	ctx, cancel := a.call()
	defer cancel()
	answers, err := a.Packages.FindKeys(ctx, r.Queries)
	a.result(rc, api.FindAnswers{Answers: answers}, err)
}

func checkQuery(q api.FindQuery) error {
	if q.Q == "" || len(q.Q) > maxQuery {
		return refuse(http.StatusBadRequest, "query of %d bytes: wanted a lookup path or an id, at most %d bytes", len(q.Q), maxQuery)
	}
	if len(q.Name) > symid.MaxName {
		return refuse(http.StatusBadRequest, "name of %d bytes: wanted a file name of at most %d", len(q.Name), symid.MaxName)
	}
	return nil
}
