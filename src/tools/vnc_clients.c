#include "tools/vnc_clients.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/memfd.h"

#define BITS	    8
#define SAMPLES	    3
#define PIXEL_BYTES 4

struct client {
	struct vnc_input input;
	struct vnc_line line;
	uint32_t width, height; /* as it was told */
};

static struct vnc *of_client(rfbClientPtr client)
{
	return client->screen->screenData;
}

static bool send_now(const struct display_message *message)
{
	struct iovec iov = {(void *)message, sizeof(*message)};
	const struct msghdr packet = {.msg_iov = &iov, .msg_iovlen = 1};

	return sendmsg(VNC_WORKER_FD, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(*message);
}

void vnc_pay(struct vnc *vnc)
{
	struct display_message message;

	while (vnc_debt(&vnc->debts, &message) && send_now(&message))
		vnc_paid(&vnc->debts, &message);
}

/* In their order, so none overtakes what is owed. */
static void send_message(struct vnc *vnc, const struct display_message *message)
{
	struct display_message owed;

	vnc_pay(vnc);
	if (vnc_debt(&vnc->debts, &owed) || !send_now(message))
		vnc_owe(&vnc->debts, message);
}

static void release_keys(rfbClientPtr rfb)
{
	struct client *client = rfb->clientData;
	struct display_message message;

	while (client && vnc_release(&client->input, &message))
		send_message(of_client(rfb), &message);
}

static void release_buttons(rfbClientPtr rfb)
{
	struct client *client = rfb->clientData;
	struct display_message message;

	if (client && vnc_release_buttons(&client->input, &message))
		send_message(of_client(rfb), &message);
}

static void on_gone(rfbClientPtr rfb)
{
	struct client *client = rfb->clientData;

	release_keys(rfb);
	release_buttons(rfb);
	if (client->line.fd >= 0)
		close(client->line.fd);
	vnc_line_drop(&client->line);
	free(client);
	rfb->clientData = NULL;
	of_client(rfb)->clients--;
}

static enum rfbNewClientAction on_client(rfbClientPtr rfb)
{
	struct vnc *vnc = of_client(rfb);
	struct client *client;

	if (vnc->clients == VNC_CLIENTS_MAX)
		return RFB_CLIENT_REFUSE;
	client = calloc(1, sizeof(*client));
	if (!client)
		return RFB_CLIENT_REFUSE;
	client->line.fd = -1;
	rfb->clientData = client;
	rfb->clientGoneHook = on_gone;
	vnc->clients++;
	return RFB_CLIENT_ACCEPT;
}

static void on_key(rfbBool down, rfbKeySym keysym, rfbClientPtr rfb)
{
	struct client *client = rfb->clientData;
	struct display_message message;

	if (vnc_key(&client->input, keysym, down, &message))
		send_message(of_client(rfb), &message);
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr rfb)
{
	struct client *client = rfb->clientData;
	struct display_message message =
		vnc_pointer(&client->input, &of_client(rfb)->screen, x, y, (uint8_t)buttons);

	send_message(of_client(rfb), &message);
}

static int on_leds(rfbScreenInfoPtr rfb)
{
	const struct vnc *vnc = rfb->screenData;

	return (int)vnc->screen.leds; /* the same bits */
}

__attribute__((format(printf, 1, 2))) static void be_silent(const char *format, ...)
{
}

/* As in struct vnc_screen; the library has red lowest, and says so anew with each picture. */
static void set_format(rfbScreenInfoPtr rfb)
{
	rfb->serverFormat.redShift = 16;
	rfb->serverFormat.greenShift = 8;
	rfb->serverFormat.blueShift = 0;
}

/* The library neither listens nor looks for files. */
static int make_rfb(struct vnc *vnc)
{
	rfbScreenInfoPtr rfb;

	rfbLog = rfbErr = be_silent;
	rfb = rfbGetScreen(NULL, NULL, (int)vnc->screen.width, (int)vnc->screen.height, BITS,
			   SAMPLES, PIXEL_BYTES);
	if (!rfb)
		return -ENOMEM;
	set_format(rfb);
	rfb->autoPort = FALSE;
	rfb->port = rfb->ipv6port = rfb->httpPort = rfb->http6Port = rfb->udpPort = 0;
	rfb->httpDir = NULL;
	rfb->permitFileTransfer = FALSE;
	rfb->alwaysShared = TRUE;
	rfb->deferUpdateTime = 0;
	rfb->deferPtrUpdateTime = 0;
	rfb->cursor = NULL;
	rfb->desktopName = "Bulkhead";
	rfb->frameBuffer = (char *)vnc->screen.pixels;
	rfb->screenData = vnc;
	rfb->newClientHook = on_client;
	rfb->kbdAddEvent = on_key;
	rfb->kbdReleaseAllKeys = release_keys;
	rfb->ptrAddEvent = on_pointer;
	rfb->getKeyboardLedStateHook = on_leds;
	rfbInitServer(rfb);
	vnc->rfb = rfb;
	return 0;
}

int vnc_clients_init(struct vnc *vnc)
{
	int r;

	vnc->scratch = memfd_new("vnc", 0);
	if (vnc->scratch < 0)
		return vnc->scratch;
	r = make_rfb(vnc);
	if (r)
		close(vnc->scratch);
	return r;
}

/* Viewers stay as they are: what changed is how it gets to the format that each has asked for. */
void vnc_clients_new_picture(struct vnc *vnc)
{
	const struct vnc_screen *screen = &vnc->screen;
	rfbClientIteratorPtr clients;
	rfbClientPtr client;

	rfbNewFramebuffer(vnc->rfb, (char *)screen->pixels, (int)screen->width, (int)screen->height,
			  BITS, SAMPLES, PIXEL_BYTES);
	set_format(vnc->rfb);
	clients = rfbGetClientIterator(vnc->rfb);
	while ((client = rfbClientIteratorNext(clients)))
		vnc->rfb->setTranslateFunction(client);
	rfbReleaseClientIterator(clients);
}

void vnc_clients_changed(struct vnc *vnc, const struct vnc_area *area)
{
	rfbMarkRectAsModified(vnc->rfb, (int)area->x, (int)area->y, (int)(area->x + area->width),
			      (int)(area->y + area->height));
}

/* Sends it the file's bytes from there to where the library is; false if that cannot be. */
static bool take_words(struct vnc *vnc, struct vnc_line *line, size_t from)
{
	off_t end = lseek(vnc->scratch, 0, SEEK_CUR);
	size_t size = end > (off_t)from ? (size_t)end - from : 0;
	uint8_t *room = size ? vnc_line_room(line, size) : NULL;
	bool taken =
		!size || (room && pread(vnc->scratch, room, size, (off_t)from) == (ssize_t)size);

	if (end == 0)
		return true;
	/* A size that is wrong has it closed: nothing of it is sent. */
	if (!taken)
		vnc_line_drop(line);
	return !ftruncate(vnc->scratch, 0) && lseek(vnc->scratch, 0, SEEK_SET) == 0 && taken;
}

/* The size of what comes next in a handshake, or 0 when that is over. */
static size_t fixed_size(rfbClientPtr rfb)
{
	switch (rfb->state) {
	case RFB_PROTOCOL_VERSION:
		return sz_rfbProtocolVersionMsg;
	case RFB_NORMAL:
		return 0;
	default:
		return 1;
	}
}

/* The library reads the message from the file, and writes behind it. */
static bool handle_message(rfbClientPtr rfb, size_t size)
{
	struct vnc *vnc = of_client(rfb);
	struct client *client = rfb->clientData;
	struct vnc_line *line = &client->line;
	size_t before = line->out_size - line->out_sent;
	bool new = rfb->state != RFB_NORMAL;

	if (pwrite(vnc->scratch, line->in, size, 0) != (ssize_t)size)
		return false;
	vnc_line_taken(line, size);
	rfbProcessClientMessage(rfb);
	if (new && rfb->state == RFB_NORMAL) {
		client->width = vnc->screen.width;
		client->height = vnc->screen.height;
	}
	return take_words(vnc, line, size) &&
	       vnc_line_answered(line, line->out_size - line->out_sent - before) &&
	       rfb->sock != RFB_INVALID_SOCKET;
}

/* One who came while the size changed was told the old one before it could say that it follows. */
static void tell_size(rfbClientPtr rfb)
{
	const struct vnc_screen *screen = &of_client(rfb)->screen;
	struct client *client = rfb->clientData;

	if (!rfb->useNewFBSize ||
	    (client->width == screen->width && client->height == screen->height))
		return;
	rfb->newFBSizePending = TRUE;
	client->width = screen->width;
	client->height = screen->height;
}

/* All that it has said, and, when it has taken what was before, the news. */
static bool serve_client(rfbClientPtr rfb, uint64_t now)
{
	struct client *client = rfb->clientData;
	struct vnc_line *line = &client->line;
	ssize_t size;

	while ((size = vnc_line_message(line, fixed_size(rfb))) > 0) {
		if (!handle_message(rfb, (size_t)size))
			return false;
		line->heard = now;
	}
	if (size < 0 || line->ended)
		return false;
	vnc_line_send(line);
	if (vnc_line_waits(line))
		line->heard = now;
	if (rfb->state != RFB_NORMAL && vnc_line_patience(line, now) == 0)
		return false;
	if (vnc_line_waits(line) || rfb->state != RFB_NORMAL)
		return !line->ended;
	tell_size(rfb);
	rfbUpdateClient(rfb);
	if (!take_words(of_client(rfb), line, 0) || rfb->sock == RFB_INVALID_SOCKET)
		return false;
	vnc_line_send(line);
	return !line->ended;
}

void vnc_clients_serve(struct vnc *vnc, const fd_set *reads)
{
	uint64_t now = clock_now_ns();
	rfbClientPtr next;

	for (rfbClientPtr rfb = vnc->rfb->clientHead; rfb; rfb = next) {
		struct client *client = rfb->clientData;

		next = rfb->next;
		if (FD_ISSET(client->line.fd, reads))
			vnc_line_receive(&client->line);
		if (serve_client(rfb, now))
			continue;
		/* Why it is refused, as far as it takes that. */
		vnc_line_send(&client->line);
		if (rfb->sock != RFB_INVALID_SOCKET)
			rfbCloseClient(rfb);
		rfbClientConnectionGone(rfb);
	}
}

int vnc_clients_watch(const struct vnc *vnc, fd_set *reads, fd_set *writes, uint64_t *ns)
{
	uint64_t now = clock_now_ns();
	int highest = -1;

	*ns = UINT64_MAX;

	for (rfbClientPtr rfb = vnc->rfb->clientHead; rfb; rfb = rfb->next) {
		const struct client *client = rfb->clientData;
		const struct vnc_line *line = &client->line;

		if (line->in_count < sizeof(line->in))
			FD_SET(line->fd, reads);
		if (vnc_line_waits(line))
			FD_SET(line->fd, writes);
		if (rfb->state != RFB_NORMAL)
			*ns = MIN(*ns, vnc_line_patience(line, now));
		highest = MAX(highest, line->fd);
	}
	return highest;
}

/* From here on it has the file for its socket, and the greeting is ours to send. */
static int hand_over(struct vnc *vnc, const int *pair, rfbClientPtr rfb, int fd)
{
	struct client *client = rfb->clientData;
	uint8_t *greeting = vnc_line_room(&client->line, sz_rfbProtocolVersionMsg);
	int on = 1;

	if (!greeting)
		return -ENOMEM;
	if (recv(pair[1], greeting, sz_rfbProtocolVersionMsg, 0) != sz_rfbProtocolVersionMsg)
		return -EPIPE;
	if (dup3(vnc->scratch, pair[0], O_CLOEXEC) < 0)
		return -errno;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* if it is one of TCP's */
	client->line.fd = fd;
	client->line.heard = clock_now_ns();
	return 0;
}

/* The library looks whether a new client speaks first, and takes it for a web browser's WebSocket
 * then, which any page may open.  So what it sees at first is a stand-in that has said the right
 * thing. */
int vnc_clients_add(struct vnc *vnc, int fd)
{
	rfbClientPtr rfb = NULL;
	int pair[2], r = -EPIPE;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	if (write(pair[1], "RFB ", 4) == 4)
		rfb = rfbNewClient(vnc->rfb, pair[0]);
	else
		close(pair[0]);
	if (rfb)
		r = hand_over(vnc, pair, rfb, fd);
	if (rfb && r) {
		rfbCloseClient(rfb);
		rfbClientConnectionGone(rfb);
	}
	close(pair[1]);
	return r;
}
