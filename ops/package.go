package ops

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"symkeep/agent"
	"symkeep/internal/api"
	"symkeep/internal/catalog"
)

func packageCommand(env Env) *cobra.Command {
	return Group("package", "list, show, delete and retry packages",
		packageList(env), packageShow(env), packageDelete(env),
		packageChange(env, "undelete", "bring deleted packages back while their files are kept", (*api.Client).Undelete),
		packageChange(env, "retry", "send stuck or failed packages to validation again", (*api.Client).Retry))
}

// pageSize is how many packages one request asks for.
const pageSize = 200

func packageList(env Env) *cobra.Command {
	var r remote
	var q api.PackagesQuery
	var state, before string
	limit := 50
	c := &cobra.Command{
		Use:     "list",
		Short:   "list packages, newest first",
		Example: "  symkeep package list --server http://symbols:8480 --product app --state failed",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 {
				return Usage("--limit %d, wanted 0 for all, or more", limit)
			}
			q.State, q.Before = catalog.State(state), catalog.PackageID(before)
			return listPackages(cmd.Context(), &r, printer{env, r.json}, q, limit)
		},
	}
	r.flags(c.Flags())
	c.Flags().StringVar(&q.Product, "product", "", "only this product")
	c.Flags().StringVar(&q.Version, "version", "", "only this version")
	c.Flags().StringVar(&state, "state", "", "only this state: open, committed, good, failed, stuck, trashed, purged or expired")
	c.Flags().StringVar(&before, "before", "", "only packages older than this package `ID`")
	c.Flags().IntVar(&limit, "limit", limit, "how many at most; 0 for all")
	return c
}

// listPackages prints page by page, so that a long list needs no memory.
func listPackages(ctx context.Context, r *remote, p printer, q api.PackagesQuery, limit int) error {
	rows := [][]string{{"PACKAGE", "STATE", "PRODUCT", "VERSION", "FILES", "SIZE", "ERRORS", "WARNINGS", "OPENED"}}
	for left := limit; ; {
		q.Limit = pageSize
		if limit > 0 {
			q.Limit = min(left, pageSize)
		}
		var page api.PackagesPage
		err := r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
			page, err = c.Packages(ctx, q)
			return err
		})
		if err != nil {
			return err
		}
		for _, pkg := range page.Packages {
			if p.json {
				if err := agent.WriteJSON(p.env.Stdout, pkg); err != nil {
					return err
				}
				continue
			}
			rows = append(rows, []string{string(pkg.ID), string(pkg.State), pkg.Product, pkg.Version, strconv.Itoa(pkg.Files),
				agent.Size(pkg.Bytes), strconv.Itoa(pkg.Errors), strconv.Itoa(pkg.Warnings), stamp(pkg.OpenedAt)})
		}
		left -= len(page.Packages)
		if page.Next == "" || len(page.Packages) == 0 || limit > 0 && left <= 0 {
			break
		}
		q.Before = catalog.PackageID(page.Next)
	}
	if p.json {
		return nil
	}
	return table(p.env.Stdout, rows)
}

func packageShow(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "show ID",
		Short:   "show one package: files, keys, findings, verdict",
		Example: "  symkeep package show 01JD3Z8QGQ4T6V2W8XN5RAYE7B --server http://symbols:8480",
		Args:    Args(1, 1, "one package ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := r.shown(cmd.Context(), catalog.PackageID(args[0]))
			if err != nil {
				return err
			}
			return printer{env, r.json}.print(d, d.write)
		},
	}
	r.flags(c.Flags())
	return c
}

// A shown package is the result object of a push and what else is known.
type shown struct {
	api.Result
	Product     string            `json:"product"`
	Version     string            `json:"version"`
	Labels      map[string]string `json:"labels,omitempty"`
	Comment     string            `json:"comment,omitempty"`
	Bytes       int64             `json:"bytes"`
	Reason      string            `json:"reason,omitempty"`
	Checked     int               `json:"checked,omitempty"`
	Errors      int               `json:"errors"`
	Warnings    int               `json:"warnings"`
	OpenedAt    string            `json:"opened_at"`
	CommittedAt string            `json:"committed_at,omitempty"`
	VerdictAt   string            `json:"verdict_at,omitempty"`
}

func (r *remote) shown(ctx context.Context, id catalog.PackageID) (shown, error) {
	var d shown
	err := r.do(ctx, func(ctx context.Context, c *api.Client) error {
		st, err := c.Package(ctx, id, 0)
		if err != nil {
			return err
		}
		d = newShown(st)
		for after := -1; ; {
			page, err := c.Files(ctx, id, after)
			if err != nil {
				return err
			}
			for _, f := range page.Files {
				d.Files = append(d.Files, agent.FromCatalog(f))
			}
			if page.Next == 0 || page.Next <= after || len(page.Files) == 0 {
				return nil
			}
			after = page.Next
		}
	})
	return d, err
}

func newShown(st api.PackageStatus) shown {
	d := shown{
		Result:  api.Result{Package: st.ID, Verdict: agent.VerdictOf(st.Package), State: st.State, Findings: []catalog.Finding{}, Files: []api.ResultFile{}, Policy: st.Policy, Judged: st.Judged},
		Product: st.Product, Version: st.Version, Labels: st.Labels, Comment: st.Comment, Bytes: st.Bytes, Reason: st.Reason,
		Checked: st.Checked, Errors: st.Errors, Warnings: st.Warnings, OpenedAt: rfc3339(st.OpenedAt),
		CommittedAt: rfc3339(st.CommittedAt), VerdictAt: rfc3339(st.VerdictAt),
	}
	d.Findings = append(d.Findings, st.Findings...)
	return d
}

func (d shown) write(w io.Writer) error {
	rows := [][]string{
		{"package", string(d.Package)}, {"product", d.Product}, {"version", d.Version}, {"state", string(d.State)},
		{"opened", d.OpenedAt}, {"committed", d.CommittedAt}, {"verdict", d.VerdictAt},
		{"files", fmt.Sprintf("%d, %s", len(d.Files), agent.Size(d.Bytes))}, {"comment", d.Comment}, {"reason", d.Reason},
		{"asked for", catalog.PolicyOf(d.Policy).String()}, {"judged under", catalog.PolicyOf(d.Judged).String()},
	}
	for k, v := range sorted(d.Labels) {
		rows = append(rows, []string{"label", k + "=" + v})
	}
	var filled [][]string
	for _, r := range rows {
		if r[1] != "" {
			filled = append(filled, r)
		}
	}
	if err := table(w, filled); err != nil {
		return err
	}
	return agent.WriteReport(w, d.Result)
}

func packageDelete(env Env) *cobra.Command {
	var r remote
	var reason string
	c := &cobra.Command{
		Use:     "delete ID...",
		Short:   "stop serving packages; undelete brings them back while their files are kept",
		Example: "  symkeep package delete 01JD3Z8QGQ4T6V2W8XN5RAYE7B --server http://symbols:8480 --reason 'wrong branch'",
		Args:    Args(1, -1, "one or more package IDs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd.Context(), env, &r, args, func(ctx context.Context, c *api.Client, id catalog.PackageID) error {
				return c.Delete(ctx, id, api.DeleteRequest{By: env.User, Reason: reason})
			})
		},
	}
	r.flags(c.Flags())
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	acceptYes(c)
	return c
}

// packageChange is a command that asks for one change of each package named.
func packageChange(env Env, verb, short string, change func(*api.Client, context.Context, catalog.PackageID) error) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     verb + " ID...",
		Short:   short,
		Example: "  symkeep package " + verb + " 01JD3Z8QGQ4T6V2W8XN5RAYE7B --server http://symbols:8480",
		Args:    Args(1, -1, "one or more package IDs"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return each(cmd.Context(), env, &r, args, func(ctx context.Context, c *api.Client, id catalog.PackageID) error {
				return change(c, ctx, id)
			})
		},
	}
	r.flags(c.Flags())
	return c
}

// each changes one package after the other and prints what it is then.
func each(ctx context.Context, env Env, r *remote, ids []string, change func(context.Context, *api.Client, catalog.PackageID) error) error {
	for _, id := range ids {
		var st api.PackageStatus
		err := r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
			if err = change(ctx, c, catalog.PackageID(id)); err == nil {
				st, err = c.Package(ctx, catalog.PackageID(id), 0)
			}
			return err
		})
		if err != nil {
			return err
		}
		err = printer{env, r.json}.print(st.Package, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, agent.Clean(fmt.Sprintf("package %s: %s %s is %s", st.ID, st.Product, st.Version, st.State)))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
