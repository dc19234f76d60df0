"""What tests share: polling with deadlines, embedded servers, processes, a TCP proxy, the whole stack, Node clients."""
