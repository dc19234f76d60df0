import {
  Button,
  Card,
  Center,
  Divider,
  Group,
  PasswordInput,
  SegmentedControl,
  Stack,
  TagsInput,
  Tabs,
  Text,
  TextInput,
  ThemeIcon,
  Title,
} from "@mantine/core";
import { IconBolt } from "@tabler/icons-react";
import { useMutation } from "@tanstack/react-query";
import { useEffect, useState, type JSX } from "react";

import { ConnectionBadge } from "@/app/ConnectionBadge";
import { Problem } from "@/components/Problem";
import { KNOWN_SKILLS } from "@/features/PostJobModal";
import { isLocalPage } from "@/system/config";
import { useAuthStore } from "@/system/stores/useAuthStore";
import type { Role } from "@/system/types";

const DEMO: readonly { readonly role: Role; readonly what: string }[] = [
  { role: "client", what: "posts jobs and pays" },
  { role: "freelancer", what: "claims and delivers" },
  { role: "operator", what: "watches and confirms" },
];
const DEMO_PASSWORD = "password";

export function LoginPage(): JSX.Element {
  useEffect(() => {
    document.title = "Log in · SharedJox";
  }, []);
  return (
    <Center component="main" mih="100dvh" p="md">
      <Stack w="100%" maw={440} gap="lg">
        <Group justify="space-between">
          <Group gap="sm">
            <ThemeIcon size="lg">
              <IconBolt size={20} aria-hidden />
            </ThemeIcon>
            <div>
              <Title order={1} fz="h3">
                SharedJox
              </Title>
              <Text c="dimmed" size="sm">
                Small freelance jobs, live
              </Text>
            </div>
          </Group>
          <ConnectionBadge />
        </Group>
        <Card padding="lg" shadow="xs">
          <Stack gap="sm">
            {isLocalPage() && <DemoAccounts />}
            <Tabs defaultValue="login" variant="pills">
              <Tabs.List grow mb="md">
                <Tabs.Tab value="login">Log in</Tabs.Tab>
                <Tabs.Tab value="register">Create an account</Tabs.Tab>
              </Tabs.List>
              <Tabs.Panel value="login">
                <LogInForm />
              </Tabs.Panel>
              <Tabs.Panel value="register">
                <RegisterForm />
              </Tabs.Panel>
            </Tabs>
          </Stack>
        </Card>
      </Stack>
    </Center>
  );
}

function DemoAccounts(): JSX.Element {
  const logIn = useAuthStore((state) => state.logIn);
  const demo = useMutation({ mutationFn: (role: Role) => logIn(`${role}@sharedjox.test`, DEMO_PASSWORD) });
  return (
    <>
      <Text fw={600}>Try a demo account</Text>
      {demo.error && <Problem error={demo.error} />}
      {DEMO.map(({ role, what }) => (
        <Button
          key={role}
          variant="default"
          justify="space-between"
          rightSection={
            <Text c="dimmed" size="xs" component="span">
              {what}
            </Text>
          }
          loading={demo.isPending && demo.variables === role}
          onClick={() => { demo.mutate(role); }}
        >
          Log in as {role}
        </Button>
      ))}
      <Divider label="or" my="xs" />
    </>
  );
}

function LogInForm(): JSX.Element {
  const logIn = useAuthStore((state) => state.logIn);
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const submit = useMutation({ mutationFn: () => logIn(email, password) });
  return (
    <form onSubmit={(event) => { event.preventDefault(); submit.mutate(); }}>
      <Stack gap="sm">
        {submit.error && <Problem error={submit.error} />}
        <TextInput label="Email" type="email" autoComplete="username" required value={email} onChange={(event) => { setEmail(event.currentTarget.value); }} />
        <PasswordInput label="Password" autoComplete="current-password" required value={password} onChange={(event) => { setPassword(event.currentTarget.value); }} />
        <Button type="submit" loading={submit.isPending}>
          Log in
        </Button>
      </Stack>
    </form>
  );
}

function RegisterForm(): JSX.Element {
  const register = useAuthStore((state) => state.register);
  const [role, setRole] = useState<"client" | "freelancer">("freelancer");
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [skills, setSkills] = useState<string[]>([]);
  const submit = useMutation({
    mutationFn: () => register({ name, email, password, role, ...(role === "freelancer" && { skills }) }),
  });
  return (
    <form onSubmit={(event) => { event.preventDefault(); submit.mutate(); }}>
      <Stack gap="sm">
        {submit.error && <Problem error={submit.error} />}
        <SegmentedControl
          aria-label="Role"
          value={role}
          onChange={(value) => { setRole(value); }}
          data={[
            { value: "freelancer", label: "I want to work" },
            { value: "client", label: "I have work" },
          ]}
        />
        <TextInput label="Name" autoComplete="name" required value={name} onChange={(event) => { setName(event.currentTarget.value); }} />
        <TextInput label="Email" type="email" autoComplete="username" required value={email} onChange={(event) => { setEmail(event.currentTarget.value); }} />
        <PasswordInput label="Password" autoComplete="new-password" required minLength={8} value={password} onChange={(event) => { setPassword(event.currentTarget.value); }} />
        {role === "freelancer" && <TagsInput label="Skills" data={KNOWN_SKILLS} value={skills} onChange={setSkills} />}
        <Button type="submit" loading={submit.isPending}>
          Create the account
        </Button>
      </Stack>
    </form>
  );
}
