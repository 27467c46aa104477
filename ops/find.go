package ops

import (
	"context"
	"errors"
	"net/http"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
)

func findCommand(env Env) *cobra.Command {
	var r remote
	var missing bool
	c := &cobra.Command{
		Use:   "find KEY|ID|URL|FILE|DUMP",
		Short: "tell who has a key, or why nobody does; exit status 1 when it is not served",
		Long: "Tell which package serves a key and which members hold the file, or why nobody does\n" +
			"and what to do about it: never seen, in a package that failed, that was deleted, that\n" +
			"has no verdict yet, or only a near miss is there: another build of the file, another\n" +
			"age, the executable without its debug information.\n\n" +
			"A KEY is a path as a debugger asks for it, a URL is one out of a debugger's log, an ID\n" +
			"is a build id, UUID, GUID, debug id or code id in hex. A FILE is a local file whose own\n" +
			"keys are looked up. A DUMP is a minidump or an ELF core dump: it is read here, and a\n" +
			"line per module tells whether its image, its debug information and its Breakpad text\n" +
			"are served. A debugger needs the first two, minidump_stackwalk the third.\n\n" +
			"Packages that failed or were deleted are on record for 14 days. The exit status is 1\n" +
			"unless every key, or all that each module of a dump needs, is served.",
		Example: "  symkeep find app.pdb/3249D99D0C4049318610F4E4FB0B69361/app.pdb --server http://symbols:8480\n" +
			"  symkeep find 1a58ff734bb1f734df5c --server http://symbols:8480\n" +
			"  symkeep find ./build/app.exe --server http://symbols:8480\n" +
			"  symkeep find crash.dmp --missing --server http://symbols:8480\n" +
			"  symkeep find core.1234 --json --server http://symbols:8480",
		Args: Args(1, 1, "one key, id, file or dump"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := subjectOf(args[0])
			if err != nil {
				return err
			}
			return find(cmd.Context(), &r, printer{env, r.json}, s, missing)
		},
	}
	r.flags(c.Flags())
	c.Flags().BoolVar(&missing, "missing", false, "leave out the keys that are served, and the modules that have all they need")
	return c
}

// A subject is what an argument asks for: keys, by themselves or of modules.
type subject struct {
	queries []api.FindQuery
	modules []module // of a dump
}

// find asks for all keys of a subject, prints the answers, and returns an error that
// says so by its exit status if anything is missing.
func find(ctx context.Context, r *remote, p printer, s subject, onlyMissing bool) error {
	answers, err := r.findAll(ctx, s.queries)
	if err != nil {
		return err
	}
	rep := newFindReport(s, answers)
	if onlyMissing {
		rep.dropServed()
	}
	if p.json {
		err = rep.writeJSON(p)
	} else {
		err = rep.writeText(p.env.Stdout)
	}
	if err != nil {
		return err
	}
	if !rep.summary.whole() {
		return &ExitError{Code: ExitFailure}
	}
	return nil
}

// findAll asks in as few requests as their bound allows.
func (r *remote) findAll(ctx context.Context, queries []api.FindQuery) ([]api.FindResponse, error) {
	var all []api.FindResponse
	for len(queries) > 0 {
		n := min(len(queries), api.MaxFindQueries)
		var part []api.FindResponse
		err := r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
			part, err = findPart(ctx, c, queries[:n])
			return err
		})
		if err != nil {
			return nil, err
		}
		all, queries = append(all, part...), queries[n:]
	}
	return all, nil
}

// findPart asks one server in one request, or key by key if it is of a release that
// answers no more at a time.
func findPart(ctx context.Context, c *api.Client, queries []api.FindQuery) ([]api.FindResponse, error) {
	if len(queries) > 1 {
		answers, err := c.FindAll(ctx, queries)
		var e *api.Error
		if !errors.As(err, &e) || e.Status != http.StatusNotFound && e.Status != http.StatusMethodNotAllowed {
			return answers, err
		}
	}
	var answers []api.FindResponse
	for _, q := range queries {
		a, err := c.Find(ctx, q)
		if err != nil {
			return nil, err
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// served reports whether a key is given to debuggers. Servers that are older than
// answers say it by the files alone.
func served(a api.FindResponse) bool {
	if a.Answer != "" {
		return a.Answer == api.AnswerServed
	}
	for _, f := range a.Found {
		if f.Served {
			return true
		}
	}
	return false
}

// writeJSON writes an object per key, one per module that has none, and the summary.
func (rep *findReport) writeJSON(p printer) error {
	for _, k := range rep.keys {
		if err := agent.WriteJSON(p.env.Stdout, k); err != nil {
			return err
		}
	}
	return agent.WriteJSON(p.env.Stdout, struct {
		Summary findSummary `json:"summary"`
	}{rep.summary})
}
