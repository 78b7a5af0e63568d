/* The load client of the bench for the original: the same work as client.rs, over libcpg.
 *
 *   load GROUP flood SIZE SECONDS     messages a second that came back
 *   load GROUP trip GAP_MS SECONDS    round trip of 64 bytes in us: median and 99th percentile
 *   load GROUP watch                  a line "MEMBERS microseconds" with every change
 */
#include <corosync/cpg.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_TRIPS 1000000

static cpg_handle_t handle;
static uint32_t own_node, own_pid;
static uint64_t back, joined;
static int watching;

static int64_t us(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void deliver(cpg_handle_t h, const struct cpg_name *g, uint32_t node, uint32_t pid, void *m, size_t n)
{
	(void)h; (void)g; (void)m; (void)n;
	if (node == own_node && pid == own_pid)
		back++;
}

static void change(cpg_handle_t h, const struct cpg_name *g, const struct cpg_address *m, size_t members,
		   const struct cpg_address *l, size_t left, const struct cpg_address *j, size_t come)
{
	(void)h; (void)g; (void)l; (void)left; (void)j; (void)come;
	for (size_t i = 0; i < members; i++)
		joined |= m[i].nodeid == own_node && m[i].pid == own_pid;
	if (watching) {
		printf("%zu %lld\n", members, (long long)us(CLOCK_REALTIME));
		fflush(stdout);
	}
}

static void hear(int wait_ms)
{
	int fd;
	cpg_fd_get(handle, &fd);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	if (poll(&p, 1, wait_ms) > 0 && cpg_dispatch(handle, CS_DISPATCH_ALL) != CS_OK)
		exit(3);
}

static int say(void *buffer, size_t size)
{
	struct iovec v = { buffer, size };
	return cpg_mcast_joined(handle, CPG_TYPE_AGREED, &v, 1) == CS_OK;
}

static int order(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static void flood(size_t size, double seconds)
{
	char *buffer = calloc(1, size);
	int64_t began = us(CLOCK_MONOTONIC), end = began + (int64_t)(seconds * 1e6);
	uint64_t before = back;
	while (us(CLOCK_MONOTONIC) < end) {
		int more = 1;
		for (int i = 0; i < 64 && more; i++)
			more = say(buffer, size);
		hear(more ? 0 : 1);
	}
	printf("%.1f\n", (back - before) / ((us(CLOCK_MONOTONIC) - began) / 1e6));
}

static void trip(int gap_ms, double seconds)
{
	static int64_t took[MOST_TRIPS];
	size_t n = 0;
	char buffer[64] = { 0 };
	int64_t end = us(CLOCK_MONOTONIC) + (int64_t)(seconds * 1e6);
	while (us(CLOCK_MONOTONIC) < end && n < MOST_TRIPS) {
		uint64_t before = back;
		int64_t began = us(CLOCK_MONOTONIC);
		while (!say(buffer, sizeof buffer))
			hear(1);
		while (back == before)
			hear(1000);
		took[n++] = us(CLOCK_MONOTONIC) - began;
		if (gap_ms)
			usleep(gap_ms * 1000);
	}
	qsort(took, n, sizeof took[0], order);
	printf("%lld %lld\n", (long long)took[n / 2], (long long)took[n * 99 / 100]);
}

int main(int argc, char **argv)
{
	cpg_callbacks_t callbacks = { deliver, change };
	struct cpg_name group;
	if (argc < 3 || cpg_initialize(&handle, &callbacks) != CS_OK || cpg_local_get(handle, &own_node) != CS_OK)
		return 1;
	own_pid = getpid();
	watching = !strcmp(argv[2], "watch");
	group.length = strlen(argv[1]);
	memcpy(group.value, argv[1], group.length);
	while (cpg_join(handle, &group) == CS_ERR_TRY_AGAIN)
		usleep(10000);
	while (!joined)
		hear(1000);
	if (watching)
		for (;;)
			hear(1000);
	if (!strcmp(argv[2], "flood"))
		flood(atoi(argv[3]), atof(argv[4]));
	else
		trip(atoi(argv[3]), atof(argv[4]));
	return 0;
}
