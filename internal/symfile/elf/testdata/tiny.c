/* Source of the fixtures in this folder: see ORIGIN.md. */
struct point { int x, y; };
int sum(struct point *p, int n)
{
	int s = 0;
	for (int i = 0; i < n; i++)
		s += p[i].x * p[i].y;
	return s;
}
static int twice(int v) { return 2 * v; }
int entry(int v) { struct point p = { v, twice(v) }; return sum(&p, 1); }
