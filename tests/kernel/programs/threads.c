/* Several threads that work, wait for each other, and make calls of their own. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <sys/sysinfo.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int sum;

static void *work(void *number) {
	struct sysinfo info;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&lock);
		sum++;
		if (i % 50 == 0) usleep(100);
		pthread_mutex_unlock(&lock);
	}
	if ((long)number == 3) sysinfo(&info);
	return NULL;
}

int main(void) {
	pthread_t threads[8];
	for (long i = 0; i < 8; i++) pthread_create(&threads[i], NULL, work, (void *)i);
	for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
	printf("%d\n", sum);
	return sum == 1600 ? 0 : 1;
}
