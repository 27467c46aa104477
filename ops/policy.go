package ops

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"symkeep/internal/api"
	"symkeep/internal/catalog"
	"symkeep/internal/validate"
)

// PolicyFlags are --allow and --deny.
type PolicyFlags struct{ allow, deny []string }

// Add adds the flags. Each may be repeated and takes lists.
func (p *PolicyFlags) Add(f *pflag.FlagSet) {
	f.StringSliceVar(&p.allow, "allow", nil, "`CODE` of findings whose errors are warnings; may be repeated")
	f.StringSliceVar(&p.deny, "deny", nil, "`CODE` of findings whose warnings are errors; may be repeated")
}

// Policy returns what the flags say. Codes that do not exist or cannot be allowed are
// a usage error.
func (p *PolicyFlags) Policy() (catalog.Policy, error) {
	policy, err := validate.ParsePolicy(p.allow, p.deny)
	if err != nil {
		return policy, Usage("%w", err)
	}
	return policy, nil
}

func clusterPolicy(env Env) *cobra.Command {
	c := Group("policy", "see and set how findings are weighed in every package",
		policyShow(env), policySet(env), policyClear(env))
	c.Long = "The policy of the cluster turns errors into warnings (allow) and warnings into errors\n" +
		"(deny), by code, in every package. What it denies nobody can allow; what it allows a\n" +
		"push can deny. `symkeep findings` lists the codes."
	return c
}

func policyShow(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "show",
		Short:   "show which codes are allowed and denied in every package",
		Example: "  symkeep cluster policy show --server http://symbols:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := r.policy(cmd.Context())
			if err != nil {
				return err
			}
			return r.printPolicy(env, p)
		},
	}
	r.flags(c.Flags())
	return c
}

func policySet(env Env) *cobra.Command {
	var r remote
	var flags PolicyFlags
	c := &cobra.Command{
		Use:   "set",
		Short: "say which codes are allowed and denied in every package from now on",
		Long: "Replaces the list of allowed codes, of denied codes, or both; what is not named stays.\n" +
			"Packages that have a verdict keep it: `symkeep package retry` has a failed one judged\n" +
			"again.",
		Example: "  symkeep cluster policy set --deny PDB-STRIPPED,PDB-NOLINES --server http://symbols:8480\n" +
			"  symkeep cluster policy set --allow ELF-DWO --deny '' --server http://symbols:8480",
		Args: Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := flags.Policy()
			if err != nil {
				return err
			}
			named, req := api.NewClusterPolicy(p), api.PolicyRequest{}
			if cmd.Flags().Changed("allow") {
				req.Allow = &named.Allow
			}
			if cmd.Flags().Changed("deny") {
				req.Deny = &named.Deny
			}
			if req.Allow == nil && req.Deny == nil {
				return Usage("nothing to set: name --allow or --deny; `symkeep cluster policy clear` ends the policy")
			}
			return r.setPolicy(cmd.Context(), env, req)
		},
	}
	r.flags(c.Flags())
	flags.Add(c.Flags())
	acceptYes(c)
	return c
}

func policyClear(env Env) *cobra.Command {
	var r remote
	c := &cobra.Command{
		Use:     "clear",
		Short:   "weigh findings as the table of codes says, from now on",
		Example: "  symkeep cluster policy clear --server http://symbols:8480",
		Args:    Args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return r.setPolicy(cmd.Context(), env, api.PolicyRequest{Allow: &[]string{}, Deny: &[]string{}})
		},
	}
	r.flags(c.Flags())
	acceptYes(c)
	return c
}

func (r *remote) policy(ctx context.Context) (p api.ClusterPolicy, err error) {
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		p, err = c.Policy(ctx)
		return err
	})
	return p, err
}

// setPolicy tells what is changed, and changes it: nothing is lost by it.
func (r *remote) setPolicy(ctx context.Context, env Env, req api.PolicyRequest) error {
	old, err := r.policy(ctx)
	if err != nil {
		return err
	}
	next := old
	if req.Allow != nil {
		next.Allow = *req.Allow
	}
	if req.Deny != nil {
		next.Deny = *req.Deny
	}
	plan(env, "for every package, now: "+policyText(old.Policy()), "from then on: "+policyText(next.Policy()))
	var p api.ClusterPolicy
	err = r.do(ctx, func(ctx context.Context, c *api.Client) (err error) {
		p, err = c.SetPolicy(ctx, req)
		return err
	})
	if err != nil {
		return err
	}
	return r.printPolicy(env, p)
}

func (r *remote) printPolicy(env Env, p api.ClusterPolicy) error {
	return printer{env, r.json}.print(p, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "every package: %s\n", policyText(p.Policy()))
		return err
	})
}

func policyText(p catalog.Policy) string {
	if p.IsZero() {
		return "no policy, findings weigh as `symkeep findings` lists them"
	}
	return p.String()
}
