/* boothd of Debian 12 waits for ever where the kernel (since 6.10 or so) puts the end of a list of addresses into the datagram of
 * the last of them: it looks for the end in a datagram of its own. Loaded before it, this hands the end over on its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

static int held_fd = -1, held_length;
static char held[64];

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	static ssize_t (*next)(int, struct msghdr *, int);
	int domain = 0;
	socklen_t size = sizeof(domain);

	if (!next)
		next = (ssize_t (*)(int, struct msghdr *, int))dlsym(RTLD_NEXT, "recvmsg");
	if (fd == held_fd && message->msg_iovlen && message->msg_iov[0].iov_len >= sizeof(held)) {
		memcpy(message->msg_iov[0].iov_base, held, held_length);
		held_fd = -1;
		return held_length;
	}
	ssize_t got = next(fd, message, flags);
	if (got <= 0 || message->msg_iovlen != 1 || getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) || domain != AF_NETLINK)
		return got;
	char *start = message->msg_iov[0].iov_base;
	int left = (int)got;
	for (struct nlmsghdr *h = (struct nlmsghdr *)start; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type != NLMSG_DONE || (char *)h == start || left > (int)sizeof(held))
			continue;
		memcpy(held, h, left);
		held_length = left;
		held_fd = fd;
		return (char *)h - start;
	}
	return got;
}
