import { Stack } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import type { JSX } from "react";

import { Empty } from "@/components/Empty";
import { Loading } from "@/components/Loading";
import { PageTitle } from "@/components/PageTitle";
import { Problem } from "@/components/Problem";
import { JobCard } from "@/features/JobCard";
import { api } from "@/system/api";
import { flatten, keys } from "@/system/queries";

export default function MyJobsPage(): JSX.Element {
  const query = useInfiniteQuery({
    queryKey: keys.mine,
    queryFn: ({ pageParam }) => api.myJobs(pageParam),
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.nextCursor,
  });
  const jobs = flatten(query.data);
  return (
    <>
      <PageTitle title="My jobs" subtitle="Posted or claimed by you" />
      {query.error && <Problem error={query.error} retry={() => void query.refetch()} />}
      {query.isPending && <Loading />}
      <Stack gap="sm">
        {jobs.map((job) => (
          <JobCard key={job.id} job={job} />
        ))}
        {query.isSuccess && jobs.length === 0 && <Empty title="No jobs yet">Post one, or claim one on Discovery.</Empty>}
      </Stack>
    </>
  );
}
